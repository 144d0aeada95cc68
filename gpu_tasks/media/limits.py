"""What the gate lets in, and what it makes of it: two sets of plain numbers, each with its reason."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MediaLimits(_Model):
    """Beyond these a file is refused.

    `max_pixels` is what H.264 level 5.1 allows for a frame (ITU-T H.264 table A-1): 4096x2304, more than 4K.
    `max_still_pixels` is beyond any camera picture of a face, and 150 MB decoded.
    """

    max_bytes: int = Field(default=2 << 30, gt=0)
    max_pixels: int = Field(default=36_864 * 256, gt=0)
    max_side_px: int = Field(default=8192, gt=0)
    min_side_px: int = Field(default=32, gt=0)
    max_seconds: float = Field(default=600.0, gt=0)
    min_fps: float = Field(default=1.0, gt=0)
    max_fps: float = Field(default=240.0, gt=0)
    max_streams: int = Field(default=16, gt=0)
    max_channels: int = Field(default=16, gt=0)
    min_sample_rate: int = Field(default=4000, gt=0)
    max_sample_rate: int = Field(default=384_000, gt=0)
    # A drive or a format error ends as silence of a few samples.
    min_sound_seconds: float = Field(default=0.05, ge=0)
    max_still_pixels: int = Field(default=50_000_000, gt=0)


class HdrPolicy(StrEnum):
    """What happens to a high dynamic range video (HLG, PQ)."""

    TONE_MAP = "tone_map"
    REFUSE = "refuse"


class GatePolicy(_Model):
    """What a file that is let in is made into where it is more than the engines can use.

    `working_pixels`: larger frames are scaled down to it (1920x1200: every common HD size passes in either direction).
    `working_fps`: of a quicker video every second, third, ... frame is kept, so that what stays is exact.
    `working_sample_rate`: sound outside 8..96 kHz is brought to it.
    """

    hdr: HdrPolicy = HdrPolicy.TONE_MAP
    working_pixels: int = Field(default=1920 * 1200, gt=0)
    working_fps: float = Field(default=60.0, gt=0)
    working_sample_rate: int = Field(default=48_000, gt=0)
