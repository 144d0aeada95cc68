"""What a deployment takes, makes of it and may spend: the same numbers in its settings and in its policy block."""

from typing import Literal

from pydantic import BaseModel, Field

_MEGABYTE = 1024 * 1024


class MediaBounds(BaseModel):
    """Limits of inputs and the gate's policy; in the environment each is LIPSWAP_ and its name in capitals.

    Defaults below the sizes in bytes are those of the gate (gpu_tasks/media/limits.py, where each has its reason).
    """

    max_video_bytes: int = Field(default=2048 * _MEGABYTE, gt=0, description="Largest target video, in bytes.")
    max_audio_bytes: int = Field(
        default=256 * _MEGABYTE,
        gt=0,
        description="Largest driving audio, in bytes; a video that brings it may be larger.",
    )
    max_image_bytes: int = Field(default=32 * _MEGABYTE, gt=0, description="Largest source image, in bytes.")

    max_seconds: float = Field(default=600.0, gt=0, description="Longest video, audio and result, in seconds.")
    max_pixels: int = Field(default=36_864 * 256, gt=0, description="Most pixels of a video's frame.")
    max_side_px: int = Field(default=8192, gt=0, description="Longest side of a frame or picture.")
    min_side_px: int = Field(default=32, gt=0, description="Shortest side of a frame or picture.")
    max_still_pixels: int = Field(default=50_000_000, gt=0, description="Most pixels of a source image.")
    min_fps: float = Field(default=1.0, gt=0, description="Lowest frame rate.")
    max_fps: float = Field(default=240.0, gt=0, description="Highest frame rate.")
    max_streams: int = Field(default=16, gt=0, description="Most streams in a file.")
    max_channels: int = Field(default=16, gt=0, description="Most channels of a sound track.")
    min_sample_rate: int = Field(default=4000, gt=0, description="Lowest sample rate, in Hz.")
    max_sample_rate: int = Field(default=384_000, gt=0, description="Highest sample rate, in Hz.")
    min_sound_seconds: float = Field(default=0.05, ge=0, description="Shortest driving audio, in seconds.")

    hdr: Literal["tone_map", "refuse"] = Field(default="tone_map", description="What happens to HLG and PQ videos.")
    working_pixels: int = Field(default=1920 * 1200, gt=0, description="Larger frames are scaled down to this many.")
    working_fps: float = Field(default=60.0, gt=0, description="Of quicker videos only some frames are kept.")
    working_sample_rate: int = Field(default=48_000, gt=0, description="Sound outside 8 to 96 kHz is brought to it.")


class SegmentBounds(BaseModel):
    """Into how many segments long results are cut; in the environment as above. `docs/segments.md` has the rules."""

    segment_seconds: float = Field(
        default=30.0, ge=10.0, description="Results of two such lengths and more are cut into segments of about this."
    )
    max_segments: int = Field(default=64, ge=1, le=1000, description="Most segments of one run; then each is longer.")
    max_segments_per_endpoint: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Most segments that one run has at one endpoint at once: more than it has workers.",
    )


class BudgetBounds(BaseModel):
    """What GPU jobs may cost; in the environment each is LIPSWAP_ and its name in capitals. None: no limit.

    A day is one of UTC. Dollars are those of the price table, or of the endpoint's own price.
    """

    max_gpu_seconds_per_run: float | None = Field(
        default=None, gt=0, description="Most billed GPU seconds of one run, all its stages and attempts together."
    )
    max_gpu_seconds_per_day: float | None = Field(
        default=None, gt=0, description="Most billed GPU seconds of all runs of one day."
    )
    max_usd_per_run: float | None = Field(default=None, gt=0, description="Most US dollars for GPUs of one run.")
    max_usd_per_day: float | None = Field(
        default=None, gt=0, description="Most US dollars for GPUs of all runs of one day."
    )

    @property
    def counts_money(self) -> bool:
        """Whether every endpoint needs a price."""
        return self.max_usd_per_run is not None or self.max_usd_per_day is not None
