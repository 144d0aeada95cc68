"""What stays together when tests run side by side."""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling

# Folders without servers to share: their files may be spread.
_SPREAD = frozenset({"contract", "engine", "facefusion", "media", "provenance", "quality", "samples", "weights"})


class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # no types published
    """Keeps a folder in one process: its tests share a stack, and what one leaves the next may find."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path) if path.parent.name in _SPREAD else str(path.parent)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFolder:
    """Let `pytest -n` spread tests by folder."""
    return ByFolder(config, log)
