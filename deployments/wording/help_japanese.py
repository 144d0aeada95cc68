"""The help of every command and option in Japanese, by `command` and `command.parameter`."""

from collections.abc import Mapping
from typing import Any, Final

HELP: Final[Mapping[str, str]] = {}


def in_japanese(command: Any, path: str) -> None:  # noqa: ANN401  # typer's own click has no public types
    """Put Japanese help into a command and its options; what has none stays English."""
