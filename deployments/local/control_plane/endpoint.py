"""One endpoint: its jobs, its queue, who holds which job, and every change of a job's status."""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection

from pydantic import JsonValue

from deployments.local.control_plane import jobs
from deployments.local.control_plane.faults import FaultSwitches
from deployments.local.control_plane.fleet import Load, Phase, Worker
from deployments.local.control_plane.jobs import HowEnded, Job
from deployments.local.control_plane.ledger import Ledger, now_ms
from deployments.local.control_plane.messages import (
    BadRequest,
    JobStatus,
    NotFound,
    StreamChunk,
    Submission,
    WorkerLeaves,
    WorkerReport,
)
from deployments.local.control_plane.rates import RateLimiter
from deployments.local.control_plane.settings import EndpointConfig, Limits, Timings
from deployments.local.control_plane.store import Count, Store

log = logging.getLogger(__name__)

_COUNT = {
    JobStatus.COMPLETED: Count.COMPLETED,
    JobStatus.FAILED: Count.FAILED,
    JobStatus.CANCELLED: Count.CANCELLED,
    JobStatus.TIMED_OUT: Count.TIMED_OUT,
}


class Endpoint:
    """The rules that keep it right.

    - a worker's report counts only while that worker holds the lease and the job is not over;
    - the job's new status is written before anybody is told, and before the worker is told to stop;
    - a job whose worker is gone, or whose result is lost, keeps its place and is first again.
    """

    def __init__(
        self,
        config: EndpointConfig,
        limits: Limits,
        timings: Timings,
        store: Store,
        on_final: Callable[["Endpoint", Job], None],
    ) -> None:
        self.config, self.limits, self.timings = config, limits, timings
        self.faults = FaultSwitches()
        self.rates = RateLimiter(limits.rates)
        self.workers: dict[str, Worker] = {}
        self.failed_starts = 0
        self._ledger = Ledger(config.id, store)
        self._on_final = on_final

    @property
    def counts(self) -> Counter[Count]:
        return self._ledger.counts

    @property
    def queued(self) -> int:
        return len(self._ledger.line)

    @property
    def in_progress(self) -> int:
        return sum(job.status is JobStatus.IN_PROGRESS for job in self._ledger.all())

    def count(self, name: Count) -> None:
        self._ledger.count(name)

    # For clients.

    def submit(self, submission: Submission, *, synchronous: bool) -> Job:
        name = f"{uuid.uuid4()}-u1"
        job = Job(
            id=f"sync-{name}" if synchronous else name,
            endpoint_id=self.config.id,
            position=self._ledger.next_position(),
            submission=submission,
            synchronous=synchronous,
            submitted_ms=now_ms(),
        )
        self._ledger.add(job)
        return job

    def job(self, job_id: str) -> Job:
        """Raises NotFound when the job never was or is gone."""
        job = self._ledger.get(job_id)
        if job is None or self._is_expired(job):
            raise NotFound("no such job, or its result has expired")
        return job

    async def wait_until_over(self, job_id: str, seconds: float) -> Job:
        """The job as it is when it is over, or after `seconds`."""
        await self._ledger.wait_until_over(job_id, seconds)
        return self.job(job_id)

    def expire_in(self, job_id: str, milliseconds: int) -> None:
        self._ledger.write(self.job(job_id).model_copy(update={"expires_ms": now_ms() + milliseconds}))

    def take_chunks(self, job_id: str) -> tuple[StreamChunk, ...]:
        return self._ledger.take_chunks(job_id)

    def cancel(self, job_id: str) -> Job:
        job = self.job(job_id)
        return job if job.status.final else self._finish(job, JobStatus.CANCELLED)

    def retry(self, job_id: str) -> Job:
        job = self.job(job_id)
        if job.status not in (JobStatus.FAILED, JobStatus.TIMED_OUT):
            raise BadRequest(f"only a FAILED or TIMED_OUT job can be retried, this one is {job.status}")
        job = jobs.retried(job, self._ledger.next_position(), now_ms())
        self._ledger.queue(job)
        self.count(Count.RETRIED)
        return job

    def purge(self) -> int:
        waiting = self._ledger.waiting()
        for job in waiting:
            self._finish(job, JobStatus.CANCELLED)
        return len(waiting)

    # For workers.

    def worker(self, worker_id: str) -> Worker:
        try:
            return self.workers[worker_id]
        except KeyError:
            raise WorkerLeaves("this plane did not start that worker") from None

    async def take(self, worker: Worker, at_most: int) -> tuple[Job, ...]:
        """Up to `at_most` jobs as soon as there are any, none when the hold has passed.

        Raises:
            WorkerLeaves: the worker is being killed.
        """
        if worker.phase is Phase.STARTING:
            worker.phase, self.failed_starts = Phase.READY, 0
            worker.idle_since = time.monotonic()
        until = time.monotonic() + self.timings.poll_hold_seconds
        worker.polls += 1
        try:
            while True:
                if worker.phase is Phase.DYING:
                    raise WorkerLeaves("this worker is being stopped")
                if taken := self._hand_out(worker, at_most):
                    return taken
                if not await self._ledger.line.wait(until - time.monotonic()):
                    return ()
        finally:
            worker.polls -= 1

    def report(self, worker: Worker, job_id: str, report: WorkerReport) -> None:
        """Progress or the result; ignored when the worker does not hold the job or the job is over."""
        job = self._held(worker, job_id)
        if report.is_progress:
            if job is not None:
                self._ledger.write(jobs.progressed(job, report.output))
            return
        self._release(worker, job_id)
        if job is not None:
            status = JobStatus.FAILED if report.failed else JobStatus.COMPLETED
            self._finish(job, status, output=report.output, error=report.error)
        if report.stop_worker:
            worker.phase = Phase.RETIRING

    def stream(self, worker: Worker, job_id: str, chunk: StreamChunk) -> None:
        if self._held(worker, job_id) is not None:
            self._ledger.add_chunk(job_id, chunk)

    def holds_nothing(self, worker: Worker) -> None:
        """A take with job_in_progress=0: every lease the worker had is lost."""
        for job_id in tuple(worker.leases):
            self._lose(worker, job_id, HowEnded.RESULT_LOST, counts=True)

    def holds(self, worker: Worker, job_ids: Collection[str]) -> None:
        """A ping names all jobs in progress. A lease missing several times in a row is lost.

        Two are enough when a stop has been sent: a cancelled asynchronous handler reports nothing.
        """
        for job_id, lease in tuple(worker.leases.items()):
            lease.missed_pings = 0 if job_id in job_ids else lease.missed_pings + 1
            if lease.missed_pings >= (2 if lease.stop_sent else self.timings.missed_pings):
                self._lose(worker, job_id, HowEnded.RESULT_LOST, counts=True)

    # For the supervisor.

    def worker_gone(self, worker: Worker) -> None:
        """Requeue what the worker held; when the plane itself killed it, its other jobs are not to blame."""
        del self.workers[worker.id]
        for job_id in tuple(worker.leases):
            self._lose(worker, job_id, HowEnded.WORKER_DIED, counts=worker.phase is not Phase.DYING)

    def sweep(self) -> None:
        """End what has run too long, forget what has expired."""
        now = now_ms()
        for job in self._ledger.all():
            if self._is_expired(job):
                self._forget(job)
            elif jobs.timed_out(job, self.limits, now):
                self._finish(job, JobStatus.TIMED_OUT, error="the job ran longer than its executionTimeout")

    def wake(self) -> None:
        """Let held takes see that a worker's phase or the capacity changed."""
        self._ledger.line.wake()

    def load(self) -> Load:
        scaling = [job for job in self._ledger.waiting() if not job.submission.policy.low_priority]
        live = [worker for worker in self.workers.values() if worker.phase in (Phase.STARTING, Phase.READY)]
        return Load(
            queued=len(scaling),
            leased=sum(len(worker.leases) for worker in live),
            oldest_wait_seconds=(now_ms() - min(job.submitted_ms for job in scaling)) / 1000 if scaling else 0,
            live=len(live),
            starting=sum(worker.phase is Phase.STARTING for worker in live),
        )

    # Within.

    def _hand_out(self, worker: Worker, at_most: int) -> tuple[Job, ...]:
        taken: list[Job] = []
        if worker.phase is not Phase.READY or self.faults.current.no_capacity:
            return ()
        # Not a job that this worker still holds from before its /retry: its old run has to end first.
        while len(taken) < at_most and (job_id := self._ledger.line.pop(but_not=worker.leases)):
            job = jobs.started(self._ledger[job_id], worker.id, now_ms())
            self._ledger.write(job)
            worker.lease(job_id)
            self.count(Count.STARTED)
            taken.append(job)
        return tuple(taken)

    def _held(self, worker: Worker, job_id: str) -> Job | None:
        """The job, if it is running and this worker is the one that runs it."""
        job = self._ledger.get(job_id)
        held = (
            job is not None
            and job_id in worker.leases
            and job.worker_id == worker.id
            and job.status is JobStatus.IN_PROGRESS
        )
        return job if held else None

    def _lose(self, worker: Worker, job_id: str, how: HowEnded, *, counts: bool) -> None:
        job = self._held(worker, job_id)
        self._release(worker, job_id)
        if job is None:
            return
        if counts and job.requeues >= self.limits.max_requeues:
            self._finish(job, JobStatus.FAILED, error=f"the job was lost {job.requeues + 1} times: {how}")
            return
        log.warning("%s: job %s is queued again: %s", self.config.id, job_id, how)
        self._ledger.queue(jobs.requeued(job, how, now_ms(), counts=counts))
        self.count(Count.REQUEUED)

    def _release(self, worker: Worker, job_id: str) -> None:
        worker.release(job_id)
        self.wake()  # a retried job may have waited for its old run to end on just this worker

    def _finish(self, job: Job, status: JobStatus, *, output: JsonValue = None, error: JsonValue = None) -> Job:
        job_over = jobs.finished(job, status, now_ms(), output=output, error=error)
        self._ledger.close(job_over)
        self._stop_work_on(job)
        self.count(_COUNT[status])
        self._on_final(self, job_over)
        return job_over

    def _forget(self, job: Job) -> None:
        self._ledger.forget(job)
        self._stop_work_on(job)

    def _stop_work_on(self, job: Job) -> None:
        """Ask the worker that still runs the job, if one does, to stop."""
        worker = self.workers.get(job.worker_id or "")
        if worker is not None and job.status is JobStatus.IN_PROGRESS and job.id in worker.leases:
            worker.leases[job.id].stop_since = time.monotonic()
            worker.stop_signal.set()

    def _is_expired(self, job: Job) -> bool:
        faults = self.faults.current
        return jobs.expired(
            job,
            self.limits,
            now_ms(),
            ttl_seconds=faults.ttl_seconds,
            retention_seconds=faults.retention_seconds,
        )
