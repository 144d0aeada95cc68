"""One job's life as a frozen record and the pure steps between its states. Times are epoch milliseconds."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, JsonValue

from deployments.local.control_plane.messages import JobStatus, JobView, Submission, TakenJob
from deployments.local.control_plane.settings import Limits


class HowEnded(StrEnum):
    """Why one execution of a job on one worker ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    WORKER_DIED = "worker_died"
    RESULT_LOST = "result_lost"
    PLANE_STOPPED = "plane_stopped"


_HOW = {
    JobStatus.COMPLETED: HowEnded.COMPLETED,
    JobStatus.FAILED: HowEnded.FAILED,
    JobStatus.CANCELLED: HowEnded.CANCELLED,
    JobStatus.TIMED_OUT: HowEnded.TIMED_OUT,
}


class Execution(BaseModel):
    model_config = ConfigDict(frozen=True)

    worker_id: str
    started_ms: int
    ended_ms: int | None = None
    how: HowEnded | None = None


class Job(BaseModel):
    """`position` is its place in the endpoint's queue; a requeued job keeps it and so comes first again."""

    model_config = ConfigDict(frozen=True)

    id: str
    endpoint_id: str
    position: int
    submission: Submission
    synchronous: bool
    submitted_ms: int
    status: JobStatus = JobStatus.IN_QUEUE
    started_ms: int | None = None
    ended_ms: int | None = None
    expires_ms: int | None = None
    worker_id: str | None = None
    output: JsonValue = None
    error: JsonValue = None
    requeues: int = 0
    executions: tuple[Execution, ...] = ()

    def view(self) -> JobView:
        started, ended = self.started_ms, self.ended_ms
        return JobView(
            id=self.id,
            status=self.status,
            delay_time=None if started is None else started - self.submitted_ms,
            execution_time=None if started is None or ended is None else ended - started,
            worker_id=self.worker_id,
            retries=self.requeues or None,
            output=self.output,
            error=self.error,
        )

    def for_worker(self) -> TakenJob:
        return TakenJob(
            id=self.id,
            input=self.submission.input,
            delay_time=(self.started_ms or self.submitted_ms) - self.submitted_ms,
            webhook=self.submission.webhook,
            s3_config=self.submission.s3_config,
        )


def started(job: Job, worker_id: str, now_ms: int) -> Job:
    """Taken by a worker; opens an execution."""
    execution = Execution(worker_id=worker_id, started_ms=now_ms)
    return job.model_copy(
        update={
            "status": JobStatus.IN_PROGRESS,
            "started_ms": now_ms,
            "worker_id": worker_id,
            "executions": (*job.executions, execution),
        }
    )


def progressed(job: Job, output: JsonValue) -> Job:
    """Progress stands where the output will stand."""
    return job.model_copy(update={"output": output})


def finished(job: Job, status: JobStatus, now_ms: int, *, output: JsonValue, error: JsonValue) -> Job:
    """The output replaces what progress left there, also when there is none."""
    return job.model_copy(
        update={
            "status": status,
            "ended_ms": now_ms,
            "output": output,
            "error": error,
            "executions": _closed(job.executions, _HOW[status], now_ms),
        }
    )


def requeued(job: Job, how: HowEnded, now_ms: int, *, counts: bool) -> Job:
    """Back into its old place. `counts` is false when the loss was not the job's doing."""
    return job.model_copy(
        update={
            "status": JobStatus.IN_QUEUE,
            "started_ms": None,
            "worker_id": None,
            "output": None,
            "requeues": job.requeues + counts,
            "executions": _closed(job.executions, how, now_ms),
        }
    )


def retried(job: Job, position: int, now_ms: int) -> Job:
    """A client's /retry: the same id and input, at the end of the queue, as if submitted now."""
    return job.model_copy(
        update={
            "status": JobStatus.IN_QUEUE,
            "position": position,
            "submitted_ms": now_ms,
            "started_ms": None,
            "ended_ms": None,
            "expires_ms": None,
            "worker_id": None,
            "output": None,
            "error": None,
            "requeues": 0,
        }
    )


def timed_out(job: Job, limits: Limits, now_ms: int) -> bool:
    """Whether this run is longer than the job's executionTimeout; time in the queue is not counted."""
    if job.status is not JobStatus.IN_PROGRESS or job.started_ms is None:
        return False
    return now_ms - job.started_ms > (job.submission.policy.execution_timeout or limits.execution_timeout_ms)


def expired(
    job: Job, limits: Limits, now_ms: int, *, ttl_seconds: float | None, retention_seconds: float | None
) -> bool:
    """Whether the job is gone: its ttl (from submission, running or not) or its retention has passed.

    `ttl_seconds` and `retention_seconds` are injected faults that override what the job and the limits say.
    """
    ttl_ms = job.submission.policy.ttl or limits.ttl_ms if ttl_seconds is None else ttl_seconds * 1000
    ends = [job.submitted_ms + ttl_ms]
    if job.expires_ms is not None:
        ends.append(job.expires_ms)
    if job.ended_ms is not None:
        kept = limits.sync_retention_seconds if job.synchronous else limits.async_retention_seconds
        ends.append(job.ended_ms + 1000 * (kept if retention_seconds is None else retention_seconds))
    return now_ms > min(ends)


def _closed(executions: tuple[Execution, ...], how: HowEnded, now_ms: int) -> tuple[Execution, ...]:
    """End the open execution, if the job had been started at all."""
    if not executions or executions[-1].ended_ms is not None:
        return executions
    return (*executions[:-1], executions[-1].model_copy(update={"ended_ms": now_ms, "how": how}))
