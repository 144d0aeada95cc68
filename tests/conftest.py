"""What goes together when tests run side by side."""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# Folders without servers to share: their files may be spread.
_SPREAD = frozenset({"contract", "engine", "media", "provenance", "quality", "samples", "wav2lip", "weights"})


# First: the plugin that spreads tests reads the marks in this very hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a folder in one process: its tests share a stack, and what one leaves the next may find."""
    for item in items:
        folder, *rest = item.path.relative_to(TESTS).parts
        group = f"{folder}/{rest[0]}" if folder in _SPREAD and rest else folder
        item.add_marker(pytest.mark.xdist_group(group))
