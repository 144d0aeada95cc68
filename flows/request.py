"""The request: what a caller asks. Everything that reads or makes one imports it from here."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from gpu_tasks.contract.artifacts import InputKey, OutputKey
from gpu_tasks.contract.casting import needing_recognition, reference_keys, uncastable
from gpu_tasks.contract.consent import DeclaredConsent, OptionalConsent
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.options import (
    EngineChoice,
    FaceFusionOptions,
    FaceMapping,
    FaceSelection,
    SyncMode,
    Wav2LipOptions,
)
from gpu_tasks.contract.webhooks import ENDS, WebhookEvent

MAX_SOURCES = 16

# Flow name / deployment name: how a run is created, on whatever kind of work pool.
DEPLOYMENT = "pipeline/lipswap"
VERIFY_DEPLOYMENT = "verify/lipswap"
FACES_DEPLOYMENT = "faces/lipswap"
PREVIEW_DEPLOYMENT = "preview/lipswap"
ESTIMATE_DEPLOYMENT = "estimate/lipswap"
_Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Trim(BaseModel):
    """Part of the target to use, in seconds from its start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    end: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError("trim.end must be greater than trim.start")
        return self


class PipelineRequest(BaseModel):
    """One request: driving audio + target video + optional source faces -> one video.

    No `source_keys`: lip-sync only. No `audio_key`: face swap only. Neither: refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    audio_key: InputKey | None = None
    target_key: InputKey
    source_keys: tuple[InputKey, ...] = Field(default=(), max_length=MAX_SOURCES)
    output_key: OutputKey | None = None
    wav2lip_output_key: OutputKey | None = None
    retain_intermediate: bool = True
    wav2lip: Wav2LipOptions = Wav2LipOptions()
    facefusion: FaceFusionOptions = FaceFusionOptions()
    engine: EngineChoice = EngineChoice.AUTO
    sync_mode: SyncMode = SyncMode.LOOP
    trim: Trim | None = None
    face_selection: FaceSelection = FaceSelection()
    face_map: tuple[FaceMapping, ...] = Field(default=(), max_length=MAX_SOURCES)
    consent: OptionalConsent = None
    webhook_url: str | None = Field(default=None, min_length=1, max_length=2048)
    webhook_events: tuple[WebhookEvent, ...] = Field(default=ENDS, min_length=1, max_length=len(WebhookEvent))
    priority: int = Field(default=0, ge=-10, le=10)
    deadline_seconds: float | None = Field(default=None, gt=0, le=7 * 24 * 3600, allow_inf_nan=False)
    labels: dict[_Label, Annotated[str, StringConstraints(max_length=256)]] = Field(default_factory=dict, max_length=16)

    @property
    def wants_lip_sync(self) -> bool:
        return self.audio_key is not None

    @property
    def wants_face_swap(self) -> bool:
        return bool(self.source_keys)

    @property
    def reference_keys(self) -> tuple[InputKey, ...]:
        """The pictures by which the faces to swap are chosen, each once."""
        return reference_keys(self.face_selection, self.face_map) if self.wants_face_swap else ()

    @property
    def gpu_stages(self) -> tuple[Stage, ...]:
        """What GPU workers have to do."""
        wanted = {Stage.WAV2LIP: self.wants_lip_sync, Stage.FACEFUSION: self.wants_face_swap}
        return tuple(stage for stage, is_wanted in wanted.items() if is_wanted)

    @property
    def laid_out_as(self) -> SyncMode:
        """How a target that is shorter than the sound goes on; `wav2lip.pingpong` is the original service's bounce."""
        return SyncMode.BOUNCE if self.wav2lip.pingpong and self.sync_mode is SyncMode.LOOP else self.sync_mode


class VerifyRequest(BaseModel):
    """Whose credential does the object under `key` carry, and is it still what was signed?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: InputKey


class FacesRequest(BaseModel):
    """Which faces does the target show, at one moment or, without `at_seconds`, where most of them are seen?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target_key: InputKey
    at_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class EstimateRequest(BaseModel):
    """How long would this take, and what would it cost?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: PipelineRequest


class PreviewKind(StrEnum):
    FRAME = "frame"
    CLIP = "clip"


class PreviewRequest(BaseModel):
    """What would a part of the result look like on the draft engine? `at_seconds` counts from the result's start.

    `consent` names a declaration that the door has put into the audit chain; `request` holds none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: PipelineRequest
    kind: PreviewKind = PreviewKind.FRAME
    at_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    consent: DeclaredConsent | None = None


def unsupported(request: PipelineRequest) -> FaultError | None:
    """Return the refusal of faces that cannot be chosen so, None when all fields can be acted on."""
    return _refusal_of(uncastable(request.face_selection, request.face_map, len(request.source_keys)))


def beyond(request: PipelineRequest, engine: Engine) -> FaultError | None:
    """Return the refusal of the first field that is more than an engine can do, None when it does all."""
    if engine is Engine.NEURAL or not request.wants_face_swap:
        return None
    return _refusal_of(needing_recognition(request.face_selection, request.face_map))


def _refusal_of(gaps: Iterator[tuple[str, str]]) -> FaultError | None:
    gap = next(gaps, None)
    return FaultError(FaultCode.OPTION_UNSUPPORTED, f"{gap[0]}: {gap[1]}", field=gap[0]) if gap else None
