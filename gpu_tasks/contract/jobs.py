"""Jobs: what is sent to an endpoint, what comes back, and the fingerprint that decides whether it was done before.

A job carries keys, digests and options: never bytes, URLs or credentials, so that its fingerprint is stable.
"""

import hashlib
import json
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpu_tasks.contract.artifacts import Artifact, InputKey, WorkKeys
from gpu_tasks.contract.options import FaceFusionOptions, FaceMapping, FaceSelection, SyncMode, Wav2LipOptions

# Enters every fingerprint: raise it when the meaning of a field changes, and no old result is reused.
CONTRACT_VERSION = 3

# W3C Trace Context.
TRACEPARENT = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


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


class Segment(_Model):
    """Half-open range [start_frame, stop_frame) of a timeline's or a video's frames."""

    start_frame: int = Field(ge=0)
    stop_frame: int = Field(gt=0)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.stop_frame <= self.start_frame:
            raise ValueError("a segment has at least one frame")
        return self

    @property
    def frame_count(self) -> int:
        return self.stop_frame - self.start_frame


class Timeline(_Model):
    """The constant-frame-rate grid of the result and how the target's frames lie on it.

    `fps` is exact. `frame_count` frames are produced; the target has `target_frame_count` on the same grid, of which
    `trim` is used (None: all).
    """

    fps: Fraction
    frame_count: int = Field(gt=0)
    target_frame_count: int = Field(gt=0)
    sync_mode: SyncMode = SyncMode.LOOP
    trim: Segment | None = None

    @model_validator(mode="after")
    def _is_trimmed_inside_the_target(self) -> Self:
        if self.clip.stop_frame > self.target_frame_count:
            raise ValueError("the trim ends after the target")
        return self

    @property
    def clip(self) -> Segment:
        """The frames of the target that are used."""
        return self.trim or Segment(start_frame=0, stop_frame=self.target_frame_count)

    @property
    def duration_seconds(self) -> float:
        return float(self.frame_count / self.fps)

    def sample_count(self, sample_rate: int) -> int:
        """Return how many samples of sound lie under the result, from the same fraction as its frames."""
        return int(self.frame_count / self.fps * sample_rate + Fraction(1, 2))

    def target_frame(self, index: int) -> int:
        """Return the frame of the target that is shown at frame `index` of the result.

        Frames beyond what the mode provides for (a result that is longer than its mode makes it) hold the last one.
        """
        count = self.clip.frame_count
        match self.sync_mode:
            case SyncMode.LOOP:
                shown = index % count
            case SyncMode.BOUNCE:
                # There and back; neither end is shown twice in a row.
                place = index % max(2 * count - 2, 1)
                shown = min(place, 2 * count - 2 - place) if count > 1 else 0
            case SyncMode.REMAP:
                # The frame on the screen in the middle of the slot: both ends are treated alike.
                shown = min((2 * index + 1) * count // (2 * self.frame_count), count - 1)
            case SyncMode.CUT_OFF | SyncMode.SILENCE:
                shown = min(index, count - 1)
        return self.clip.start_frame + shown


# Where an object lies does not change what it is: only digests of artifacts enter a fingerprint.
_NOT_IDENTITY = {"key", "media_type", "size_bytes"}


class StageJob(_Model):
    """What both kinds of jobs have in common.

    `attempt`, `task_id` and `traceparent` say who asks and how often, not what: they stay out of the fingerprint.
    """

    contract_version: int = CONTRACT_VERSION
    engine: Engine
    model_revisions: dict[str, str]
    target: Artifact
    timeline: Timeline
    segment: Segment | None = None
    # The faces of the footage that the timeline lays out, found once for all segments and stages.
    tracks: Artifact | None = None
    # The frames of the timeline that the target holds when it is the product of an earlier stage; None: it is the
    # footage itself.
    laid_out: Segment | None = None
    quality: Quality = Quality.DELIVERY
    attempt: int = Field(default=1, ge=1)
    task_id: str = ""
    # The span that asks, for whoever collects traces.
    traceparent: str | None = Field(default=None, pattern=TRACEPARENT)

    not_identity: ClassVar[dict[str, object]] = {
        "attempt": True,
        "task_id": True,
        "traceparent": True,
        "target": _NOT_IDENTITY,
        "tracks": _NOT_IDENTITY,
    }

    @model_validator(mode="after")
    def _target_holds_its_frames(self) -> Self:
        holds, wanted = self.laid_out, self.frames
        if holds and not holds.start_frame <= wanted.start_frame < wanted.stop_frame <= holds.stop_frame:
            raise ValueError("the target does not hold the frames of the segment")
        return self

    @property
    def frames(self) -> Segment:
        """The frames to produce: the segment, or the whole timeline."""
        return self.segment or Segment(start_frame=0, stop_frame=self.timeline.frame_count)

    def identity(self) -> dict[str, object]:
        """Return everything that decides the job's pixels, as JSON."""
        return self.model_dump(mode="json", exclude=self.not_identity)  # type: ignore[arg-type]  # nested excludes

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


_Choice = TypeVar("_Choice", FaceSelection, FaceMapping)


class Reference(_Model):
    """A picture by which a face is known, and the key by which the request names it."""

    named: InputKey
    picture: Artifact


class FaceFusionJob(StageJob):
    stage: Literal[Stage.FACEFUSION] = Stage.FACEFUSION
    sources: tuple[Artifact, ...] = Field(min_length=1, max_length=64)
    options: FaceFusionOptions = FaceFusionOptions()
    face_selection: FaceSelection = FaceSelection()
    face_map: tuple[FaceMapping, ...] = ()
    # The pictures that the reference keys of `face_selection` and `face_map` name.
    references: tuple[Reference, ...] = Field(default=(), max_length=64)

    not_identity: ClassVar[dict[str, object]] = {
        **StageJob.not_identity,
        "sources": {"__all__": _NOT_IDENTITY},
        "references": {"__all__": {"named": True, "picture": _NOT_IDENTITY}},
    }

    def identity(self) -> dict[str, object]:
        """As every job's; what a reference shows counts, not the name that a caller gave it."""
        shown = {reference.named: reference.picture.sha256 for reference in self.references}

        def known(choice: _Choice) -> _Choice:
            digest = shown.get(choice.reference_key or "", choice.reference_key)
            return choice.model_copy(update={"reference_key": digest})

        chosen = {"face_selection": known(self.face_selection), "face_map": tuple(map(known, self.face_map))}
        return super(FaceFusionJob, self.model_copy(update=chosen)).identity()


Job = Annotated[Wav2LipJob | FaceFusionJob, Field(discriminator="stage")]


def fingerprint(job: Wav2LipJob | FaceFusionJob) -> str:
    """Digest (64 hex digits) of everything that decides the job's pixels; equal jobs have one result."""
    return digest_of(job.identity())


def digest_of(value: object) -> str:
    """SHA-256 (64 hex digits) of a JSON value in canonical form: sorted names, no spaces, UTF-8."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def keys_of(job: Wav2LipJob | FaceFusionJob) -> WorkKeys:
    """Return the keys of the job's claim, markers, outputs and receipt."""
    return WorkKeys(stage=job.stage, fingerprint=fingerprint(job))
