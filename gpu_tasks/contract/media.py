"""What is known of a media file, as plain values.

What stands in receipts ignores fields that only a newer release knows; see `receipts`.
"""

from fractions import Fraction

from pydantic import BaseModel, ConfigDict, Field


class VideoInfo(BaseModel):
    """A video stream. `fps` is exact (30000/1001, not 29.97); width and height are as displayed, after rotation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fps: Fraction
    frame_count: int = Field(ge=0)
    duration_seconds: float = Field(ge=0)
    codec: str
    rotation_degrees: int = 0


class AudioInfo(BaseModel):
    """An audio stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int = Field(gt=0)
    channels: int = Field(gt=0)
    duration_seconds: float = Field(ge=0)
    codec: str


class MediaInfo(BaseModel):
    """A file: the first real video stream (not a cover picture) and the first audio stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    container: str
    size_bytes: int = Field(gt=0)
    video: VideoInfo | None = None
    audio: AudioInfo | None = None


class FaceCoverage(BaseModel):
    """In how many of the looked-at frames a face was found. `ratio` is in 0..1."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    frames_looked_at: int = Field(ge=0)
    frames_with_face: int = Field(ge=0)

    @property
    def ratio(self) -> float:
        return self.frames_with_face / self.frames_looked_at if self.frames_looked_at else 0.0
