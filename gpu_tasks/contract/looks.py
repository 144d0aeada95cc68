"""What small flows find out for a caller who has not decided yet: faces, a preview, what a run would cost.

Pictures are named by key; whoever reads the answer signs their URLs.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.artifacts import ObjectKey
from gpu_tasks.contract.jobs import Engine, Stage

# left, top, width and height, in pixels of the upright frame.
Box = tuple[float, float, float, float]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Notice(_Model):
    """What predicts a poor result or makes a number rough: a code for programs, a sentence for people."""

    code: str
    sentence: str


class FoundFace(_Model):
    """A face that was seen in the target.

    Attributes:
        track_id: The same number for the same face, in this answer only.
        position: Its place from the left in the frame at `at_seconds`, as `face_selection` and `face_map` count.
        box: Forehead to chin, ear to ear.
        score: How sure the network is, 0..1.
        at_seconds: The frame that `box` and `crop_key` show.
        coverage_percent: Share of the frames looked at in which this face is seen.
        size_px: Forehead to chin.
    """

    track_id: int
    position: int
    box: Box
    score: float
    at_seconds: float
    coverage_percent: float
    size_px: float
    crop_key: ObjectKey


class FoundFaces(_Model):
    """The faces of a target. `coverage_percent` is the share of the frames looked at that show any face."""

    width: int
    height: int
    fps: float
    duration_sec: float
    coverage_percent: float
    faces: tuple[FoundFace, ...]
    warnings: tuple[Notice, ...] = ()


class MadePreview(_Model):
    """A signed frame or clip of the draft result. `duration_sec` of a frame is 0."""

    key: ObjectKey
    media_type: str
    width: int
    height: int
    duration_sec: float
    engine: Literal[Engine.DRAFT] = Engine.DRAFT


class StageEstimate(_Model):
    """What one stage would take on a GPU; nothing when a result of the same job is `cached`."""

    stage: Stage
    gpu_seconds: Annotated[float, Field(ge=0)]
    usd: float | None = None
    cached: bool = False


class Estimate(_Model):
    """What a run would take. `usd` stays null until a price table is set."""

    duration_sec: float
    frame_count: int
    fps: float
    width: int
    height: int
    stages: tuple[StageEstimate, ...]
    gpu_seconds: float
    usd: float | None = None
    wall_seconds: float
    price_table: str | None = None
    warnings: tuple[Notice, ...] = ()
