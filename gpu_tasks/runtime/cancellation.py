"""A stop that comes on the event loop, seen by the threads that work."""

from threading import Event


class JobCancelledError(Exception):
    """The platform wants the job to stop; nobody waits for its result."""


class Cancellation:
    """One job's stop flag."""

    def __init__(self) -> None:
        self._wanted = Event()

    def request(self) -> None:
        self._wanted.set()

    def checkpoint(self) -> None:
        """Go on, or raise JobCancelledError; called at every frame and between all longer steps."""
        if self._wanted.is_set():
            raise JobCancelledError
