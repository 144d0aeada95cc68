"""What stays together, and what begins first, when tests run side by side."""

from pathlib import Path, PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

# Folders without servers to share: their files may be spread.
_SPREAD = frozenset({"contract", "engine", "facefusion", "media", "provenance", "quality", "samples", "weights"})
# Those that take a minute or more: one of them that began last would keep a single process busy at the end.
_FIRST = ("runs", "jobs", "wav2lip", "command_line", "api", "ui", "stack", "deploy", "runpod", "workers")
_TESTS = Path(__file__).parent


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # no types published
    """Keeps a folder in one process: its tests share a stack, and what one leaves the next may find."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path) if path.parent.name in _SPREAD else str(path.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFolder:
    """Let `pytest -n` spread tests by folder, in the order in which they were collected."""
    # Otherwise by their number, and the folder that takes longest has not the most of them.
    config.option.loadscopereorder = False
    return ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long folders first."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0]
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)
