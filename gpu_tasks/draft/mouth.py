"""Where the mouth of a mesh is, and which way its parts move: the geometry behind the draft lips.

All of it happens in the mouth's own axes: t runs along the mouth from corner to corner, v runs down towards the chin,
both in frame pixels, with the origin between the corners. A column is a line of equal t.
"""

from dataclasses import dataclass

import numpy as np

from gpu_tasks.faces.align import transform
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.mesh import (
    CHIN,
    FOREHEAD,
    INNER_LOWER_LIP,
    INNER_UPPER_LIP,
    JAW,
    NOSE_BASE,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
)

COLUMNS = 256
REACH = 1.05  # columns cover so many mouth widths to either side

_FULL_OPENING = 0.1  # of the face height, between the inner lips; wide open in speech, not in a shout
_UPPER_SHARE = 0.18  # of a change in opening is done by the upper lip, the rest by the jaw
# A mouth torn open pulls the upper lip up too: of so much more the upper lip comes down again when it is closed, from
# the first parting to the second (of the face height).
_DRAWN_UP, _TORN_OPEN = 0.12, (0.06, 0.14)
_INTO_CORNERS = 0.5  # of the way from the corners of the inner lips to those of the outer ones
_JAW_SHARE = 0.85  # of the lower lip's way is gone by the chin
_JAW_WIDTH = 0.85  # mouth widths over which the jaw's motion fades to the sides
_NECK = 0.08  # of the face height: below the chin the skin comes to rest over this distance


@dataclass(frozen=True, slots=True)
class MouthAxes:
    """The mouth's axes in a frame.

    Attributes:
        origin: (2,) float32, between the corners, frame pixels.
        along: (2,) float32 unit vector, corner to corner.
        down: (2,) float32 unit vector, towards the chin.
        width_px: Corner to corner.
        face_px: Forehead to chin.
    """

    origin: Floats
    along: Floats
    down: Floats
    width_px: float
    face_px: float

    @classmethod
    def of(cls, mesh_468: Floats) -> "MouthAxes":
        """Read the axes from a mesh."""
        left, right = mesh_468[OUTER_UPPER_LIP[0], :2], mesh_468[OUTER_UPPER_LIP[-1], :2]
        face = mesh_468[CHIN, :2] - mesh_468[FOREHEAD, :2]
        span = right - left
        width = max(float(np.hypot(*span)), 1.0)
        along = (span / width).astype(np.float32)
        down = np.array([-along[1], along[0]], np.float32)
        if float(down @ face) < 0:
            down = -down
        return cls(((left + right) / 2).astype(np.float32), along, down, width, max(float(np.hypot(*face)), 1.0))

    def to_mouth(self, points: Floats) -> Floats:
        """Map (n, 2) frame pixels to (n, 2) t and v."""
        turn = np.stack([self.along, self.down])
        return transform(points, np.concatenate([turn, -(turn @ self.origin)[:, None]], axis=1))

    def to_frame(self, points: Floats) -> Floats:
        """Map (n, 2) t and v to (n, 2) frame pixels."""
        return np.asarray(self.origin + points[:, :1] * self.along + points[:, 1:] * self.down, np.float32)


@dataclass(frozen=True, slots=True)
class MouthColumns:
    """The mouth, column by column: where its lines are in the frame (v), and by how much each is moved down (shift).

    Attributes:
        axes: The axes in which all of this holds.
        t: (COLUMNS,) float32.
        nose, outer_upper, inner_upper, inner_lower, outer_lower, chin: (COLUMNS,) float32, v of the lines as they are.
        upper_shift, lower_shift, jaw_shift: (COLUMNS,) float32, downward motion of upper lip, lower lip and chin.
        neck_px: (COLUMNS,) float32, distance below the moved chin at which nothing moves any more.
    """

    axes: MouthAxes
    t: Floats
    nose: Floats
    outer_upper: Floats
    inner_upper: Floats
    inner_lower: Floats
    outer_lower: Floats
    chin: Floats
    upper_shift: Floats
    lower_shift: Floats
    jaw_shift: Floats
    neck_px: Floats

    def at(self, table: Floats, t: Floats) -> Floats:
        """Interpolate (n, COLUMNS) values at places along the mouth: (n, *t.shape)."""
        place = np.clip((t - self.t[0]) / (self.t[1] - self.t[0]), 0, COLUMNS - 1.001)
        left = place.astype(np.intp)
        share = (place - left).astype(np.float32)
        steps = np.diff(table, axis=1)
        return np.asarray(table[:, left] + steps[:, left] * share, np.float32)

    @property
    def gap_px(self) -> float:
        """How far the lips of the frame as it is are apart in the middle."""
        return float((self.inner_lower - self.inner_upper).max())

    @property
    def opening_px(self) -> float:
        """How far the moved lips are apart in the middle."""
        moved = self.inner_lower + self.lower_shift - self.inner_upper - self.upper_shift
        return float(moved.max())


def mouth_columns(mesh_468: Floats, opening: float) -> MouthColumns:
    """Plan the motion that brings the mouth of a mesh to an opening, whatever its opening is now.

    Args:
        mesh_468: (468, 3) float32.
        opening: 0 closes the mouth, 1 opens it as wide as speech does.
    """
    axes = MouthAxes.of(mesh_468)
    width, face = axes.width_px, axes.face_px
    points = axes.to_mouth(mesh_468[:, :2])
    t = np.linspace(-REACH * width, REACH * width, COLUMNS, dtype=np.float32)

    def line(indices: tuple[int, ...]) -> Floats:
        curve = points[list(indices)]
        # a turned head can fold a curve back: a column then takes the fold's outer edge
        return np.interp(t, np.maximum.accumulate(curve[:, 0]), curve[:, 1]).astype(np.float32)

    # The mesh leaves out the corners' dark, which would stay behind as specks when the lips are closed over it.
    inner_corners, outer_corners = (_ends(curve) for curve in (INNER_UPPER_LIP, OUTER_UPPER_LIP))
    points[inner_corners] += _INTO_CORNERS * (points[outer_corners] - points[inner_corners])
    inner_upper, inner_lower = line(INNER_UPPER_LIP), line(INNER_LOWER_LIP)
    inner_lower = np.maximum(inner_lower, inner_upper)
    outer_upper, outer_lower = (
        np.minimum(line(OUTER_UPPER_LIP), inner_upper),
        np.maximum(line(OUTER_LOWER_LIP), inner_lower),
    )
    corners = points[inner_corners, 0]
    inside = np.clip((t - corners[0]) / max(float(corners[1] - corners[0]), 1.0), 0, 1)
    arch = np.maximum(np.sin(np.pi * inside), 0) ** 0.8
    wanted = opening * _FULL_OPENING * face * arch
    gap = inner_lower - inner_upper
    change = wanted - gap
    torn = np.clip((float(gap.max()) / face - _TORN_OPEN[0]) / (_TORN_OPEN[1] - _TORN_OPEN[0]), 0, 1)
    share = _UPPER_SHARE + _DRAWN_UP * torn * (change < 0)
    upper_shift, lower_shift = -change * share, change * (1 - share)
    chin = line(JAW)
    below = np.clip((chin - outer_lower) / (0.2 * face), 0, 1)  # no jaw below the mouth, no motion
    drop = float(lower_shift[COLUMNS // 2]) * _JAW_SHARE
    jaw_shift = drop * np.exp(-((t / (_JAW_WIDTH * width)) ** 2)) * below * below * (3 - 2 * below)
    jaw_shift *= np.clip((REACH - np.abs(t) / width) / 0.3, 0, 1)
    chin = np.maximum(chin, outer_lower + 1)
    # skin pressed together may be so at once; skin drawn out needs room, or the motion would fold back on itself
    neck = _NECK * face + np.where(jaw_shift > 0, 0.3 * jaw_shift, -1.55 * jaw_shift)
    nose = np.minimum(np.float32(points[NOSE_BASE, 1]), outer_upper - 0.05 * face)
    floats = (nose, outer_upper, inner_upper, inner_lower, outer_lower, chin, upper_shift, lower_shift, jaw_shift, neck)
    return MouthColumns(axes, t, *(np.asarray(values, np.float32) for values in floats))


def _ends(curve: tuple[int, ...]) -> list[int]:
    return [curve[0], curve[-1]]
