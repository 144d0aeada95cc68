"""Reports of a job's progress: rate-limited and numbered, because RunPod delivers them in any order."""

import time
from collections.abc import Callable

from gpu_tasks.contract.receipts import Progress

# Each report is a thread and a connection of the SDK: two a second cost nothing beside the pixels.
_SECONDS_BETWEEN = 0.5


class ProgressReporter:
    """Numbers one job's reports and drops those that come too soon; used by one thread."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self._send = send
        self._sequence = 0
        self._message = ""
        self._sent_at = float("-inf")

    def report(self, done: int, total: int, message: str) -> None:
        """Tell that `done` of `total` frames are ready; a new message is always sent."""
        now = time.monotonic()
        if message == self._message and now - self._sent_at < _SECONDS_BETWEEN:
            return
        self._message, self._sent_at = message, now
        self._send(Progress(sequence=self._sequence, done=done, total=total, message=message))
        self._sequence += 1
