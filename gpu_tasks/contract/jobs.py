"""Jobs: what is sent to an endpoint, what comes back, and the fingerprint that decides whether it was done before.

A job carries keys, digests and options: never bytes, URLs or credentials, so that its fingerprint is stable.
"""

import hashlib
import json
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpu_tasks.contract.artifacts import Artifact, WorkKeys
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection, SyncMode, Wav2LipOptions

# Enters every fingerprint: raise it when the meaning of a field changes, and no old result is reused.
CONTRACT_VERSION = 1


class Stage(StrEnum):
    """The steps of the DAG."""

    INGEST = "ingest"
    WAV2LIP = "wav2lip"
    FACEFUSION = "facefusion"
    ASSEMBLE = "assemble"
    PUBLISH = "publish"


class Engine(StrEnum):
    """What computes the pixels, after `auto` was resolved."""

    DRAFT = "draft"
    NEURAL = "neural"


class Quality(StrEnum):
    """Near-lossless between stages; delivery quality only in the last pixel encode."""

    INTERMEDIATE = "intermediate"
    DELIVERY = "delivery"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Timeline(_Model):
    """The constant-frame-rate grid of the result and how the target's frames lie on it.

    `fps` is exact. `frame_count` frames are produced; the target has `target_frame_count` on the same grid.
    """

    fps: Fraction
    frame_count: int = Field(gt=0)
    target_frame_count: int = Field(gt=0)
    sync_mode: SyncMode = SyncMode.LOOP

    @property
    def duration_seconds(self) -> float:
        return float(self.frame_count / self.fps)


class Segment(_Model):
    """Half-open range [start_frame, stop_frame) of a timeline."""

    start_frame: int = Field(ge=0)
    stop_frame: int = Field(gt=0)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.stop_frame <= self.start_frame:
            raise ValueError("a segment has at least one frame")
        return self


# Where an object lies does not change what it is: only digests of artifacts enter a fingerprint.
_NOT_IDENTITY = {"key", "media_type", "size_bytes"}


class StageJob(_Model):
    """What both kinds of jobs have in common.

    `attempt` and `task_id` say who asks and how often, not what is asked: they stay out of the fingerprint.
    """

    contract_version: int = CONTRACT_VERSION
    engine: Engine
    model_revisions: dict[str, str]
    target: Artifact
    timeline: Timeline
    segment: Segment | None = None
    tracks: Artifact | None = None
    quality: Quality = Quality.DELIVERY
    attempt: int = Field(default=1, ge=1)
    task_id: str = ""

    not_identity: ClassVar[dict[str, object]] = {
        "attempt": True,
        "task_id": True,
        "target": _NOT_IDENTITY,
        "tracks": _NOT_IDENTITY,
    }

    @property
    def frames(self) -> Segment:
        """The frames to produce: the segment, or the whole timeline."""
        return self.segment or Segment(start_frame=0, stop_frame=self.timeline.frame_count)

    def as_attempt(self, attempt: int) -> Self:
        """Return the same job as its `attempt`-th try."""
        return self.model_copy(update={"attempt": attempt})


class Wav2LipJob(StageJob):
    stage: Literal[Stage.WAV2LIP] = Stage.WAV2LIP
    driving_audio: Artifact
    options: Wav2LipOptions = Wav2LipOptions()

    not_identity: ClassVar[dict[str, object]] = {
        **StageJob.not_identity,
        "driving_audio": _NOT_IDENTITY,
        "options": {"output_prefix"},
    }


class FaceFusionJob(StageJob):
    stage: Literal[Stage.FACEFUSION] = Stage.FACEFUSION
    sources: tuple[Artifact, ...] = Field(min_length=1, max_length=64)
    options: FaceFusionOptions = FaceFusionOptions()
    face_selection: FaceSelection = FaceSelection()
    face_map: tuple[FaceMapping, ...] = ()

    not_identity: ClassVar[dict[str, object]] = {
        **StageJob.not_identity,
        "sources": {"__all__": _NOT_IDENTITY},
    }


Job = Annotated[Wav2LipJob | FaceFusionJob, Field(discriminator="stage")]


def fingerprint(job: Wav2LipJob | FaceFusionJob) -> str:
    """Digest (64 hex digits) of everything that decides the job's pixels; equal jobs have one result."""
    return digest_of(job.model_dump(mode="json", exclude=job.not_identity))  # type: ignore[arg-type]  # nested excludes


def digest_of(value: object) -> str:
    """SHA-256 (64 hex digits) of a JSON value in canonical form: sorted names, no spaces, UTF-8."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def keys_of(job: Wav2LipJob | FaceFusionJob) -> WorkKeys:
    """Return the keys of the job's claim, markers, outputs and receipt."""
    return WorkKeys(stage=job.stage, fingerprint=fingerprint(job))
