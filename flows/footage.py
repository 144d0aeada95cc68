"""What passes between the CPU stages and the rest of a run: keys, digests and facts, never pixels.

Without Prefect, as the processes of the CPU pool import it.
"""

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import Artifact, ObjectKey
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.contract.media import FaceCoverage, MediaInfo
from gpu_tasks.contract.options import SyncMode


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Model):
    """An input as the bucket held it when the run began; `etag` changes when somebody overwrites it."""

    key: ObjectKey
    etag: str
    size_bytes: int = Field(gt=0)


class Limits(_Model):
    """The largest inputs and the longest result that a deployment takes."""

    max_video_bytes: int
    max_audio_bytes: int
    max_image_bytes: int
    max_seconds: float


class Uploads(_Model):
    """Everything that ingest looks at; equal uploads give equal footage."""

    target: Upload
    audio: Upload | None
    sources: tuple[Upload, ...]
    sync_mode: SyncMode
    limits: Limits
    # Another detector may see other faces: what it found is not used again.
    face_model_revisions: dict[str, str]


class Footage(_Model):
    """The inputs as immutable copies, looked at and found usable, and the plan of the result."""

    target: Artifact
    target_media: MediaInfo
    audio: Artifact | None
    audio_seconds: float | None
    sources: tuple[Artifact, ...]
    faces: FaceCoverage
    timeline: Timeline


class Assembly(_Model):
    """Which parts become one file. `sound` is the driving audio, or the target when its own sound is kept."""

    parts: tuple[Artifact, ...] = Field(min_length=1)
    sound: Artifact | None
    timeline: Timeline


class Whole(_Model):
    """The finished file."""

    artifact: Artifact
    media: MediaInfo
