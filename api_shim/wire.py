"""What goes over the wire besides request and record; routes and client read the same models."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flows.request import PipelineRequest
from gpu_tasks.contract.artifacts import Digest, InputKey
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord

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
    """Asks for a URL. An upload without `key` gets a new one; a declared `size` is bound into the signature."""

    intent: Intent
    key: InputKey | None = None
    content_type: MediaType | None = None
    size: int | None = Field(default=None, gt=0)
    sha256: Digest | None = None
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
