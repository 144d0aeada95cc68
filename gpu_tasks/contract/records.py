"""The record of a run as every reader sees it: `GET /status`, any Redis client, the page."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    computed_field,
    model_validator,
)

from gpu_tasks.contract.faults import FaultCode


class Status(StrEnum):
    """The word on the wire: pending -> running -> completed | failed | cancelled."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


class RecordStage(StrEnum):
    """Where a run stands: the stages of the DAG between `queued` and the three ends."""

    QUEUED = "queued"
    INGEST = "ingest"
    WAV2LIP = "wav2lip"
    FACEFUSION = "facefusion"
    ASSEMBLE = "assemble"
    PUBLISH = "publish"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _as_utc(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return value


def _iso_with_z(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


UtcTime = Annotated[datetime, BeforeValidator(_as_utc), PlainSerializer(_iso_with_z, when_used="json")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProgressEntry(_Model):
    timestamp: UtcTime
    message: str
    stage: RecordStage
    extra: dict[str, Any] = Field(default_factory=dict)


class ErrorRecord(_Model):
    """`error` is the code, as the original service named it."""

    error: FaultCode
    detail: str
    stage: str | None = None
    retryable: bool = False


class IntermediateResult(_Model):
    output_key: str
    presigned_url: str | None = None


class ResultRecord(_Model):
    """The result. The URLs are filled in when the record is read, and never stored."""

    status: str = "completed"
    output_key: str
    output_url: str | None = None
    presigned_url: str | None = None
    public_url: str | None = None
    duration_sec: float
    bytes_uploaded: int
    encoder: str
    audio_merge: str
    sha256: str
    intermediate: dict[str, IntermediateResult] | None = None


class Cost(_Model):
    """Billed seconds on GPU workers and US dollars, of every execution that this run has paid, also of those that died.

    `usd` is null as soon as a part of it has no price: the endpoint's GPU is not named, see RUNPOD_WAV2LIP_GPU.
    """

    gpu_seconds: float = 0.0
    usd: float | None = None
    by_stage: dict[str, float] = Field(default_factory=dict)
    usd_by_stage: dict[str, float | None] = Field(default_factory=dict)


class TaskRecord(_Model):
    """One run. `revision` counts writes: the store's compare-and-set and readers' "is this newer?" stand on it."""

    task_id: str
    status: Status
    stage: RecordStage
    created_at: UtcTime
    updated_at: UtcTime
    request: dict[str, Any]
    result: ResultRecord | None = None
    error: ErrorRecord | None = None
    progress: tuple[ProgressEntry, ...] = ()
    intermediate: dict[str, IntermediateResult] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    percent: float = Field(default=0.0, ge=0, le=100)
    eta_seconds: float | None = None
    queue_position: int | None = None
    attempts: int = 1
    cost: Cost = Cost()
    media: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)
    revision: int = 0

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this pair
    @property
    def state(self) -> Status:
        """The original service told the status twice; its clients read either."""
        return self.status

    @model_validator(mode="before")
    @classmethod
    def _drop_state(cls, fields: object) -> object:
        # Written for readers, computed anew from the status when a record is read back.
        return (
            {name: value for name, value in fields.items() if name != "state"} if isinstance(fields, dict) else fields
        )
