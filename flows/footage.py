"""What passes between the CPU stages and the rest of a run: keys, digests and facts, never pixels.

Without Prefect, as the processes of the CPU pool import it.
"""

from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.request import Trim
from gpu_tasks.contract.artifacts import Artifact, ObjectKey
from gpu_tasks.contract.gate import Change
from gpu_tasks.contract.jobs import Reference, Segment, Timeline
from gpu_tasks.contract.lineage import HandedIn
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.tracks import WARNING_SENTENCES, FaceReport
from gpu_tasks.media.cutting import Cutting
from gpu_tasks.media.limits import GatePolicy, MediaLimits


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Model):
    """An input as the bucket held it when the run began; `etag` changes when somebody overwrites it."""

    key: ObjectKey
    etag: str
    size_bytes: int = Field(gt=0)


class Limits(_Model):
    """What a deployment takes, and what its gate makes of it. The bytes of `media` are those of each kind."""

    max_video_bytes: int
    max_audio_bytes: int
    max_image_bytes: int
    media: MediaLimits
    gate: GatePolicy

    @property
    def max_sound_bytes(self) -> int:
        """How large an upload with the driving audio may be: a video may bring it."""
        return max(self.max_audio_bytes, self.max_video_bytes)


class Uploads(_Model):
    """Everything that ingest looks at; equal uploads give equal footage."""

    target: Upload
    audio: Upload | None
    sources: tuple[Upload, ...]
    references: tuple[Upload, ...] = ()
    sync_mode: SyncMode
    trim: Trim | None
    limits: Limits
    cutting: Cutting
    # Another gate makes other files of the same uploads, and other models see other faces.
    revisions: dict[str, str]


class Changes(_Model):
    """What the gate did to each input, in words."""

    target: tuple[Change, ...] = ()
    audio: tuple[Change, ...] = ()
    sources: tuple[tuple[Change, ...], ...] = ()
    references: tuple[tuple[Change, ...], ...] = ()


class Footage(_Model):
    """The inputs as immutable copies, let in by the gate, the faces in them, and the plan of the result.

    An input that conforms is the very file that was uploaded, any other what the gate made of it. `segments` are the
    parts that a long result is computed in; none: it is computed as a whole.
    """

    target: Artifact
    target_media: MediaInfo
    audio: Artifact | None
    audio_seconds: float | None
    sources: tuple[Artifact, ...]
    references: tuple[Reference, ...] = ()
    handed_in: HandedIn
    changes: Changes
    faces: FaceReport
    tracks: Artifact
    timeline: Timeline
    segments: tuple[Segment, ...] = ()

    @property
    def sound(self) -> Artifact | None:
        """What is heard under the result: the driving audio, else the target's own sound, else nothing."""
        return self.audio or (self.target if self.target_media.audio else None)


def told(footage: Footage) -> dict[str, Any]:
    """Return what the record's `media` says of a run's inputs."""
    return {
        **footage.model_dump(mode="json", include={"target_media", "audio_seconds", "timeline", "segments", "changes"}),
        "faces": {
            **footage.faces.model_dump(mode="json", exclude={"warnings"}),
            "percent_with_face": round(footage.faces.percent_with_face, 1),
            "warnings": [
                {"code": warning.value, "sentence": WARNING_SENTENCES[warning]} for warning in footage.faces.warnings
            ],
        },
        "sound": _told_of_sound(footage),
    }


def _told_of_sound(footage: Footage) -> dict[str, str]:
    if footage.audio is not None:
        return {"from": "audio", "sentence": "The driving audio is heard."}
    if footage.sound is not None:
        return {"from": "target", "sentence": "The target keeps its own sound."}
    return {"from": "none", "sentence": "The target has no sound and no audio was given: the result is silent."}


class Assembly(_Model):
    """Which parts become one file. `sound` is the driving audio, or the target when its own sound is kept.

    `sound_start` is the time of the sound, in seconds, that is heard with the first frame.
    """

    parts: tuple[Artifact, ...] = Field(min_length=1)
    sound: Artifact | None
    sound_start: Fraction = Fraction(0)
    timeline: Timeline


class Whole(_Model):
    """The finished file."""

    artifact: Artifact
    media: MediaInfo
