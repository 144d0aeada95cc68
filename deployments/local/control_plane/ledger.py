"""All jobs of one endpoint: in memory, in the queue and on disk, the three changed together."""

import asyncio
import time
from collections import Counter

from deployments.local.control_plane import jobs
from deployments.local.control_plane.jobs import HowEnded, Job
from deployments.local.control_plane.messages import JobStatus, StreamChunk
from deployments.local.control_plane.store import Count, Store
from deployments.local.control_plane.waiting_line import WaitingLine


class Ledger:
    def __init__(self, endpoint_id: str, store: Store) -> None:
        self.line = WaitingLine()
        self.counts: Counter[Count] = store.counts(endpoint_id)
        self._endpoint_id, self._store = endpoint_id, store
        self._jobs: dict[str, Job] = {}
        self._over: dict[str, asyncio.Event] = {}
        self._chunks: dict[str, list[StreamChunk]] = {}
        for job in store.jobs(endpoint_id):
            self._jobs[job.id] = job
            if job.status is JobStatus.IN_QUEUE:
                self.line.put(job.position, job.id)
            elif job.status is JobStatus.IN_PROGRESS:  # its worker died with the former plane
                self.queue(jobs.requeued(job, HowEnded.PLANE_STOPPED, now_ms(), counts=False))

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id]

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def all(self) -> tuple[Job, ...]:
        return tuple(self._jobs.values())

    def waiting(self) -> tuple[Job, ...]:
        """The queue in its order."""
        return tuple(self._jobs[job_id] for job_id in self.line.ids())

    def next_position(self) -> int:
        return self._store.next_position()

    def add(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._store.insert(job)
        self.line.put(job.position, job.id)
        self.count(Count.SUBMITTED)

    def write(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._store.update(job)

    def queue(self, job: Job) -> None:
        """Put the job at its position; what it streamed in an earlier run is void."""
        self._chunks.pop(job.id, None)
        self.write(job)
        self.line.put(job.position, job.id)

    def close(self, job: Job) -> None:
        """Write a job that is over, and tell who waits for it."""
        self.line.remove(job.position, job.id)
        self.write(job)
        self._release_waiters(job.id)

    def forget(self, job: Job) -> None:
        self.line.remove(job.position, job.id)
        del self._jobs[job.id]
        self._chunks.pop(job.id, None)
        self._store.delete(job.id)
        self.count(Count.EXPIRED)
        self._release_waiters(job.id)

    def count(self, name: Count) -> None:
        self.counts[name] += 1
        self._store.count(self._endpoint_id, name)

    def add_chunk(self, job_id: str, chunk: StreamChunk) -> None:
        self._chunks.setdefault(job_id, []).append(chunk)

    def take_chunks(self, job_id: str) -> tuple[StreamChunk, ...]:
        """What the job has streamed since the last call. Kept in memory only, for one reader."""
        return tuple(self._chunks.pop(job_id, ()))

    async def wait_until_over(self, job_id: str, seconds: float) -> None:
        """Return when the job is over or gone, or after `seconds`."""
        job = self._jobs.get(job_id)
        if job is None or job.status.final:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._over.setdefault(job_id, asyncio.Event()).wait()
        except TimeoutError:
            pass

    def _release_waiters(self, job_id: str) -> None:
        if over := self._over.pop(job_id, None):
            over.set()


def now_ms() -> int:
    """The wall clock, which clients see and which survives a restart."""
    return int(time.time() * 1000)
