"""The wire: every request and answer of RunPod's client API and of the worker protocol of SDK 1.12."""

from enum import StrEnum
from http import HTTPStatus

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel


class JobStatus(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def final(self) -> bool:
        return self not in (JobStatus.IN_QUEUE, JobStatus.IN_PROGRESS)


class Wire(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


# What a client sends and sees.


class Policy(Wire):
    execution_timeout: int | None = None
    ttl: int | None = None
    low_priority: bool = False


class Submission(Wire):
    """The body of /run and /runsync; unknown fields are ignored."""

    input: JsonValue
    webhook: str | None = None
    policy: Policy = Policy()
    s3_config: dict[str, JsonValue] | None = None


class JobView(Wire):
    """The answer of /status and /runsync and the body of a webhook. Times are milliseconds."""

    id: str
    status: JobStatus
    delay_time: int | None = None
    execution_time: int | None = None
    worker_id: str | None = None
    retries: int | None = None
    output: JsonValue = None
    error: JsonValue = None


class StreamChunk(Wire):
    output: JsonValue


class StreamView(JobView):
    stream: tuple[StreamChunk, ...]


class Purged(Wire):
    removed: int
    status: str = "completed"


class JobCounts(Wire):
    completed: int
    failed: int
    in_progress: int
    in_queue: int
    retried: int


class WorkerCounts(Wire):
    idle: int
    initializing: int
    ready: int
    running: int
    throttled: int
    unhealthy: int


class Health(Wire):
    jobs: JobCounts
    workers: WorkerCounts


class Refused(Wire):
    error: str


# What a worker gets and sends.


class TakenJob(Wire):
    id: str
    input: JsonValue
    delay_time: int
    webhook: str | None = None
    s3_config: dict[str, JsonValue] | None = None


class JobsToStop(Wire):
    jobs_to_stop: tuple[str, ...]


class WorkerReport(BaseModel):
    """What a worker posts to job-done: progress (`status` is IN_PROGRESS) or the result.

    The presence of `error`, not its value, decides; `stopPod` asks for a fresh worker afterwards.
    """

    model_config = ConfigDict(frozen=True)

    status: JobStatus | None = None
    output: JsonValue = None
    error: JsonValue = None
    stop_worker: bool = Field(default=False, validation_alias=AliasChoices("stopPod", "stop_worker"))

    @property
    def is_progress(self) -> bool:
        return self.status is JobStatus.IN_PROGRESS

    @property
    def failed(self) -> bool:
        return "error" in self.model_fields_set


# Why a request is refused.


class Refusal(Exception):  # noqa: N818 - an answer to a client, not a defect of the plane
    """The plane answers `status` with one sentence; a subclass per reason."""

    status = HTTPStatus.BAD_REQUEST


class BadRequest(Refusal):
    """The body, a query parameter or the job's status does not allow the operation."""


class WrongKey(Refusal):
    status = HTTPStatus.UNAUTHORIZED


class NotFound(Refusal):
    """Unknown endpoint, unknown or expired job."""

    status = HTTPStatus.NOT_FOUND


class Throttled(Refusal):
    status = HTTPStatus.TOO_MANY_REQUESTS


class WorkerLeaves(Refusal):
    """A worker that is being killed, or that nobody started, gets no job: the SDK reads 400 as none."""
