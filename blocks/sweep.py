"""One poller per endpoint and process: every submitted job is looked at in turn, whoever and however many wait for it.

What it reads is the truth about a job; a webhook or another process only makes it look sooner.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

from blocks.endpoint_health import EndpointReading
from blocks.rates import Operation
from blocks.runpod_client import JobView, RunPodClient, RunPodError

_SHORTEST_PAUSE_SECONDS = 0.1
# A job that has run for a minute is looked at every six seconds, if the endpoint's interval allows.
_PAUSE_PER_AGE = 0.1
_HEALTH_SECONDS = 5.0
# Readings that lie further apart do not stand for the time between them.
_APART_SECONDS = 60.0


class Look(NamedTuple):
    """One look at a job. Neither view nor outage: RunPod does not know it."""

    number: int
    view: JobView | None
    outage: RunPodError | None


class WatchedJob:
    """A submitted job that somebody waits for."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.watchers = 0
        self.slowest_seconds = _HEALTH_SECONDS
        self.due_at = 0.0
        self.is_being_read = False
        self.is_hurried = False
        self._began = time.monotonic()
        self._newest: Look | None = None
        self._told = asyncio.Event()

    async def look_after(self, number: int) -> Look:
        """Return the newest look as soon as there is one after the look with this number."""
        while self._newest is None or self._newest.number <= number:
            await self._told.wait()
        return self._newest

    def tell(self, view: JobView | None, outage: RunPodError | None) -> None:
        """Publish a look to all who wait, and say when the next is due."""
        number = self._newest.number + 1 if self._newest else 1
        self._newest = Look(number, view, outage)
        now = time.monotonic()
        pause = max(_SHORTEST_PAUSE_SECONDS, (now - self._began) * _PAUSE_PER_AGE)
        # Who called while the look was under way may know of something newer.
        self.due_at = now + (0.0 if self.is_hurried else min(self.slowest_seconds, pause))
        told, self._told = self._told, asyncio.Event()
        told.set()


class StandingReading(NamedTuple):
    """An endpoint's health, and for how many seconds every reading has said the same; is it the caller's own?"""

    reading: EndpointReading
    standing_seconds: float
    is_new: bool = True


class Sweep:
    """Looks at the watched jobs of one endpoint, each when it is due; runs only while there are any."""

    def __init__(self, client: RunPodClient, endpoint_id: str) -> None:
        self._client = client
        self._endpoint_id = endpoint_id
        self._watched: dict[str, WatchedJob] = {}
        self._poke = asyncio.Event()
        self._sweeping: asyncio.Task[None] | None = None
        self._reading: set[asyncio.Task[None]] = set()
        self._health: StandingReading | None = None
        self._health_since = 0.0
        self._health_outage: RunPodError | None = None
        self._health_again_at = 0.0
        self._health_turn = asyncio.Lock()

    @contextmanager
    def watching(self, job_id: str, *, slowest_seconds: float) -> Iterator[WatchedJob]:
        """Have a job looked at, at the latest every `slowest_seconds`, until the block is left."""
        job = self._watched.setdefault(job_id, WatchedJob(job_id))
        job.watchers += 1
        job.slowest_seconds = min(job.slowest_seconds, slowest_seconds) if job.watchers > 1 else slowest_seconds
        self.hurry(job)
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep(), name=f"sweep of {self._endpoint_id}")
        try:
            yield job
        finally:
            job.watchers -= 1
            if not job.watchers:
                del self._watched[job_id]
                self._poke.set()

    def hurry(self, job: WatchedJob) -> None:
        """Look at a job now: somebody has called."""
        job.due_at, job.is_hurried = 0.0, True
        self._poke.set()

    async def health(self) -> StandingReading:
        """Return the endpoint's health, read at most every few seconds for all who ask.

        Raises:
            RunPodError: As for `RunPodClient.health`.
        """
        async with self._health_turn:
            now = datetime.now(UTC)
            known = self._health
            age = (now - known.reading.read_at).total_seconds() if known else math.inf
            if known and age < min(_HEALTH_SECONDS, self._slowest()):
                return known._replace(is_new=False)
            if self._health_outage is not None and time.monotonic() < self._health_again_at:
                raise self._health_outage
            try:
                health = await self._client.health(self._endpoint_id)
            except RunPodError as error:
                self._health_outage, self._health_again_at = error, time.monotonic() + _HEALTH_SECONDS
                raise
            reading = EndpointReading.of(self._endpoint_id, health, now=now)
            if known is None or known.reading.state is not reading.state or age > _APART_SECONDS:
                self._health_since = time.monotonic()
            self._health = StandingReading(reading, time.monotonic() - self._health_since)
            return self._health

    async def aclose(self) -> None:
        tasks = [task for task in (self._sweeping, *self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _slowest(self) -> float:
        return min((job.slowest_seconds for job in self._watched.values()), default=_HEALTH_SECONDS)

    async def _sweep(self) -> None:
        circuit = self._client.circuit(self._endpoint_id, Operation.STATUS)
        while self._watched:
            self._poke.clear()
            now = time.monotonic()
            idle = [job for job in self._watched.values() if not job.is_being_read]
            for job in idle:
                # While RunPod does not answer, one look stands for all.
                if job.due_at <= now and circuit.may_ask():
                    job.is_being_read, job.is_hurried = True, False
                    job.due_at = now + _SHORTEST_PAUSE_SECONDS
                    reading = asyncio.create_task(self._look(job))
                    self._reading.add(reading)
                    reading.add_done_callback(self._reading.discard)
            next_due = min((job.due_at for job in self._watched.values() if not job.is_being_read), default=now + 60)
            pause = max(next_due - now, circuit.rest_seconds)
            try:
                async with asyncio.timeout(max(0.01, pause)):
                    await self._poke.wait()
            except TimeoutError:
                continue

    async def _look(self, job: WatchedJob) -> None:
        view: JobView | None = None
        outage: RunPodError | None = None
        try:
            # Tried once: the next sweep is the next try.
            view = await self._client.status(self._endpoint_id, job.job_id, tries=1)
        except RunPodError as error:
            outage = error
        finally:
            job.is_being_read = False
            self._poke.set()
        job.tell(view, outage)
