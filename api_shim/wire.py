"""What goes over the wire besides request and record; routes and client read the same models."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flows.request import PipelineRequest, PreviewKind
from gpu_tasks.contract.artifacts import Digest, InputKey, ObjectKey
from gpu_tasks.contract.looks import Box, Notice
from gpu_tasks.contract.records import ErrorRecord, RecordStage, Status, TaskRecord, UtcTime
from gpu_tasks.contract.webhooks import WebhookEvent

MAX_INLINE_AUDIO_BYTES = 8 * 1024 * 1024
# S3 lets a signature live for a week at most.
_MAX_EXPIRY_SECONDS = 7 * 24 * 3600

MediaType = Annotated[str, Field(pattern=r"^(audio|video|image|application)/[A-Za-z0-9.+\-]{1,80}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _is_inline_audio(encoded: str) -> str:
    # Four letters hold three bytes: refused by length before anything is decoded.
    if len(encoded) > (MAX_INLINE_AUDIO_BYTES // 3 + 1) * 4:
        raise ValueError(f"audio_base64 holds at most {MAX_INLINE_AUDIO_BYTES} bytes; use POST /storage/upload")
    try:
        decoded = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("audio_base64 is not base64") from error
    if not decoded:
        raise ValueError("audio_base64 holds no bytes")
    if len(decoded) > MAX_INLINE_AUDIO_BYTES:
        raise ValueError(f"audio_base64 holds at most {MAX_INLINE_AUDIO_BYTES} bytes; use POST /storage/upload")
    return encoded


class RunBody(PipelineRequest):
    """The body of `POST /run`: a request, whose driving audio may stand in it as base64."""

    audio_base64: Annotated[str, AfterValidator(_is_inline_audio)] | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _has_one_audio(self) -> Self:
        if self.audio_base64 is not None and self.audio_key is not None:
            raise ValueError("give audio_key or audio_base64, not both")
        return self

    @property
    def inline_audio(self) -> bytes | None:
        return None if self.audio_base64 is None else base64.b64decode(self.audio_base64)

    def as_request(self, *, audio_key: str | None) -> PipelineRequest:
        """Return the request without bytes, with the driving audio under `audio_key`."""
        fields = {name: getattr(self, name) for name in PipelineRequest.model_fields}
        return PipelineRequest.model_validate({**fields, "audio_key": audio_key})


class ErrorAnswer(ErrorRecord):
    """The body of every error; `field` and `task_id` only where the error has one of them to name."""

    field: str | None = None
    task_id: str | None = None


class RunSummary(_Model):
    """Where a task stands in one line. `state` repeats `status`, as the original service did."""

    task_id: str
    status: Status
    state: Status
    stage: RecordStage

    @classmethod
    def of(cls, record: TaskRecord) -> Self:
        return cls(task_id=record.task_id, status=record.status, state=record.status, stage=record.stage)


class Intent(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"


class PresignRequest(_Model):
    """Asks for a URL. An upload without `key` gets a new one; a declared `size` is bound into the signature.

    `filename` is the name under which a browser saves a download.
    """

    intent: Intent
    key: InputKey | None = None
    content_type: MediaType | None = None
    size: int | None = Field(default=None, gt=0)
    sha256: Digest | None = None
    filename: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]+$")] | None = None
    expires_in: int | None = Field(default=None, ge=1, le=_MAX_EXPIRY_SECONDS)


class PresignAnswer(_Model):
    """`headers` are to be sent with the request to `url` as they are."""

    key: str
    url: str
    method: Literal["PUT", "GET"]
    headers: dict[str, str]
    intent: Intent
    expires_in: int
    public_url: str | None = None


class UploadAnswer(_Model):
    key: str
    size: int
    content_type: str
    sha256: str
    public_url: str | None = None


class UploadBegin(_Model):
    """Announces a large file that is sent in parts; `sha256` is checked when the upload is completed."""

    prefix: Annotated[str, Field(max_length=300)] | None = None
    filename: Annotated[str, Field(max_length=300)] | None = None
    content_type: MediaType | None = None
    size: int = Field(gt=0)
    sha256: Digest | None = None


class UploadBegun(_Model):
    """All parts have `part_bytes` bytes, but for the last; `expires_in` seconds from now the upload is forgotten."""

    upload_id: str
    key: str
    part_bytes: int
    part_count: int
    expires_in: int


PartNumber = Annotated[int, Field(ge=1, le=10_000)]
# More URLs are asked for in the next call: an answer stays readable.
_MAX_PARTS_ASKED = 1000
_MAX_PARTS = 10_000


class PartsRequest(_Model):
    """Which parts are to be sent now; none: only what is there already is told."""

    part_numbers: tuple[PartNumber, ...] = Field(default=(), max_length=_MAX_PARTS_ASKED)


class PartUrl(_Model):
    """Where one part goes; `size` bytes, no more and no less."""

    part_number: int
    url: str
    method: Literal["PUT"] = "PUT"
    headers: dict[str, str] = Field(default_factory=dict)
    size: int


class UploadedPart(_Model):
    part_number: int
    etag: str
    size: int


class PartsAnswer(_Model):
    parts: tuple[PartUrl, ...]
    uploaded: tuple[UploadedPart, ...]


class SentPart(_Model):
    """A part with the `ETag` header that the bucket answered with."""

    part_number: PartNumber
    etag: Annotated[str, Field(min_length=1, max_length=128)]


class UploadComplete(_Model):
    parts: tuple[SentPart, ...] = Field(min_length=1, max_length=_MAX_PARTS)


class FaceAnswer(_Model):
    """One face for a picker; `position` is what `face_selection` and `face_map` mean by it."""

    track_id: int
    position: int
    box: Box
    score: float
    at_seconds: float
    coverage_percent: float
    size_px: float
    crop_url: str


class FacesAnswer(_Model):
    """The faces of a target, from left to right."""

    width: int
    height: int
    fps: float
    duration_sec: float
    coverage_percent: float
    faces: tuple[FaceAnswer, ...]
    warnings: tuple[Notice, ...] = ()


class PreviewBody(_Model):
    """The body of `POST /preview`: what would be sent to `/run`, and which part of it is shown."""

    request: RunBody
    kind: PreviewKind = PreviewKind.FRAME
    at_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class PreviewAnswer(_Model):
    """A signed frame or clip of the draft result; `url` is signed now."""

    key: ObjectKey
    url: str
    media_type: str
    width: int
    height: int
    duration_sec: float
    engine: Literal["draft"] = "draft"


class TaskLine(_Model):
    """One task in a list: enough to show it and to ask for more. `output_url` is signed now."""

    task_id: str
    status: Status
    state: Status
    stage: RecordStage
    percent: float
    created_at: UtcTime
    updated_at: UtcTime
    labels: dict[str, str]
    request: dict[str, Any]
    error: ErrorRecord | None = None
    duration_sec: float | None = None
    output_key: str | None = None
    output_url: str | None = None

    @classmethod
    def of(cls, record: TaskRecord, *, output_url: str | None) -> Self:
        """Return a record as a line; `output_url` is signed by whoever can."""
        result = record.result
        return cls(
            task_id=record.task_id,
            status=record.status,
            state=record.status,
            stage=record.stage,
            percent=record.percent,
            created_at=record.created_at,
            updated_at=record.updated_at,
            labels=record.request.get("labels") or {},
            request=record.request,
            error=record.error,
            duration_sec=result.duration_sec if result else None,
            output_key=result.output_key if result else None,
            output_url=output_url,
        )


class TaskPage(_Model):
    """Tasks, newest first; `next_cursor` asks for older ones, null when there are none."""

    tasks: tuple[TaskLine, ...]
    next_cursor: str | None = None


class KeptReason(StrEnum):
    """Why an object outlives the task that was deleted."""

    IN_USE = "in_use"  # another task refers to it
    NOT_OURS = "not_ours"  # another task has written it, or nobody can tell who


class Kept(_Model):
    key: str
    reason: KeptReason


class Deleted(_Model):
    """What went with a task, and what stays because others need it."""

    task_id: str
    outputs: tuple[str, ...]
    uploads: tuple[str, ...]
    kept: tuple[Kept, ...]


class Health(_Model):
    status: Literal["ok"] = "ok"


class DependencyHealth(_Model):
    """`required` dependencies decide readiness; without the others the service answers slower, but right."""

    ok: bool
    required: bool
    latency_ms: float | None = None
    reason: str | None = None


class Readiness(_Model):
    status: Literal["ready", "degraded", "unready"]
    dependencies: dict[str, DependencyHealth]


class DeliveryStatus(StrEnum):
    PENDING = "pending"  # now, or at its next try
    DELIVERED = "delivered"
    FAILED = "failed"  # for good, until it is replayed


class DeliveryAnswer(_Model):
    """One message to a webhook. `webhook_id` is what the receiver sees; `reason` says why the last try failed."""

    id: str
    webhook_id: str
    event: WebhookEvent
    url: str
    status: DeliveryStatus
    attempts: int
    created_at: UtcTime
    next_attempt_at: UtcTime | None = None
    reason: str | None = None


class DeliveryList(_Model):
    deliveries: tuple[DeliveryAnswer, ...]
