"""The queue of one endpoint in memory, and the workers that wait in front of it."""

import asyncio
import bisect
from collections.abc import Container


class WaitingLine:
    """Job ids ordered by position. Waiting workers are woken in the order in which they came."""

    def __init__(self) -> None:
        self._places: list[tuple[int, str]] = []
        self._sleepers: dict[asyncio.Future[None], None] = {}

    def __len__(self) -> int:
        return len(self._places)

    def ids(self) -> tuple[str, ...]:
        return tuple(job_id for _, job_id in self._places)

    def put(self, position: int, job_id: str) -> None:
        bisect.insort(self._places, (position, job_id))
        self.wake()

    def pop(self, *, but_not: Container[str]) -> str | None:
        """The first job that is not among `but_not`."""
        for index, (_, job_id) in enumerate(self._places):
            if job_id not in but_not:
                del self._places[index]
                return job_id
        return None

    def remove(self, position: int, job_id: str) -> None:
        index = bisect.bisect_left(self._places, (position, job_id))
        if index < len(self._places) and self._places[index] == (position, job_id):
            del self._places[index]

    def wake(self) -> None:
        """Let every waiting worker look again: a job came, or the worker's own state changed."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    async def wait(self, seconds: float) -> bool:
        """Whether there was a reason to look again within `seconds`."""
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = None
        try:
            async with asyncio.timeout(max(seconds, 0)):
                await sleeper
        except TimeoutError:
            return False
        finally:
            del self._sleepers[sleeper]
        return True
