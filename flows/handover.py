"""Runs that another worker will go on with: what they have submitted must not be stopped.

A cancelled run and a run whose worker is stopping both end by CancelledError; here is the difference.
"""

_handed_back: set[str] = set()


def hand_back(task_id: str) -> None:
    """Mark a run before it is interrupted."""
    _handed_back.add(task_id)


def is_handed_back(task_id: str) -> bool:
    """Tell whether an interrupted run goes on elsewhere."""
    return task_id in _handed_back


def take_up(task_id: str) -> None:
    """Forget the mark: the run has come to this worker again."""
    _handed_back.discard(task_id)
