"""Runs that another worker will go on with: what they have submitted must not be stopped.

A cancelled run and a run whose worker is stopping both end by CancelledError; here is the difference. A worker that
was paused may have lost a run without knowing it yet: who cannot be sure stops nothing.
"""

from collections.abc import Callable

_handed_back: set[str] = set()
_fresh: dict[str, Callable[[], bool]] = {}


def take_up(task_id: str, *, is_fresh: Callable[[], bool]) -> None:
    """Begin with a run, whose mark of an earlier time is forgotten.

    Args:
        task_id: The run.
        is_fresh: Whether nobody else can have taken it by now.
    """
    _handed_back.discard(task_id)
    _fresh[task_id] = is_fresh


def hand_back(task_id: str) -> None:
    """Mark a run before it is interrupted."""
    _handed_back.add(task_id)


def let_go(task_id: str) -> None:
    """Forget a run that has ended here."""
    _handed_back.discard(task_id)
    _fresh.pop(task_id, None)


def is_handed_back(task_id: str) -> bool:
    """Tell whether an interrupted run goes on elsewhere, or may do so."""
    is_fresh = _fresh.get(task_id)
    return task_id in _handed_back or (is_fresh is not None and not is_fresh())
