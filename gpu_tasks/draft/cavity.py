"""What is seen between parted lips: the frame's own teeth where there are any, else painted ones, tongue and dark."""

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.draft.motion import MotionField
from gpu_tasks.draft.mouth import MouthColumns
from gpu_tasks.draft.seen import Seen
from gpu_tasks.faces.arrays import Floats, Frame

# Colours are BGR for skin of luma 150 and scale with the light on the face.
_DARK = np.array([24, 19, 44], np.float32)
_TONGUE = np.array([48, 42, 92], np.float32)
_TEETH = np.array([150, 166, 176], np.float32)
_SKIN_LUMA = 150.0

# Of the parting: so much higher than at rest an open mouth holds its upper lip. The skull stays: with it the teeth keep
# their distance to the nose to 0.3 % of the face height over the sample, without it to 0.5 %.
_RAISED = 0.09
_TEETH_LENGTH = 0.036  # of the face height, below the resting lip line
_TEETH_WIDTH = 0.36  # of the mouth width, to either side
# Of the face height: from which parting on the frame's own mouth is shown, when teeth are seen in it and when not.
# Below it is a line, or shade that would make a second pair of lips when it is drawn out.
_OWN_FROM, _DARK_FROM = (0.015, 0.035), (0.07, 0.11)
_TEETH_FROM = (0.03, 0.06)  # from here on own teeth are whole, and none are painted below them
_HELD = 0.45  # of the mouth as it is, from the upper lip down, that is fixed to the skull
_DRAWN_UP_TO = 2.0
_EDGE_PX = 1.5  # lip and teeth are mixed in pixels closer to the edge than this
_OWN_EDGE = 0.014  # of the face height: so much of the own mouth's lower end is taken for lip
_SHADE = 0.03  # of the face height: the upper lip shades what lies closer below it than this
_RIM = 0.012  # of the face height: so far the inside is darker along both lips
_RIM_LIGHT = 0.75
_TONGUE_HEIGHT = 0.04  # of the face height, above the lower lip
_TEETH_PER_SIDE = 3.5
_GAPS_FROM_PX = 70.0  # width of a mouth
_SOFT = 0.007  # of the face height: over this distance lip turns into mouth, as in footage
_LINE_WIDTH = 0.009  # of the face height
_LINE_DARKNESS = 0.25
_LINE_REACH = 3.0


def paint_cavity(lips: Floats, before: Frame, columns: MouthColumns, motion: MotionField, seen: Seen) -> None:
    """Paint the mouth's inside over the moved lips, in place, softened over about one pixel at the lips' edges.

    Args:
        lips: (h, w, 3) float32 BGR 0..255, the moved window.
        before: (h, w, 3) uint8 BGR, the same window of the frame.
        columns: The plan.
        motion: The field over the window.
        seen: What the frame itself shows of the mouth.
    """
    near = np.minimum(motion.below_upper, motion.above_lower) > -_LINE_REACH
    # Beyond the corners the lines of the lips go on as one, with nothing between them.
    near &= np.abs(motion.t) < columns.axes.width_px / 2
    rows, cols = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not rows.size:
        return
    inner = _Inside.of(columns, motion, (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)))
    face, target = columns.axes.face_px, lips[inner.part]

    # closed lips meet in a dark line; where they part it becomes the shade inside
    line = np.exp(-((inner.gap / max(0.9, _LINE_WIDTH * face)) ** 2)) * np.clip(1 - inner.parted / 4, 0, 1)
    line *= inner.within * np.clip((0.5 - np.abs(inner.t) / columns.axes.width_px) / 0.3, 0, 1)
    target *= (1 - _LINE_DARKNESS * line)[..., None]

    own_mouth, own = _own(before, inner, columns, seen.teeth)
    inside = _painted(inner, columns, seen.teeth * _parted(columns, _TEETH_FROM))
    inside *= np.float32(seen.skin_luma / _SKIN_LUMA)
    own *= np.float32(seen.teeth * _parted(columns, _OWN_FROM) + (1 - seen.teeth) * _parted(columns, _DARK_FROM))
    inside += (own_mouth - inside) * own[..., None]
    shade = np.clip(inner.below_upper / (_SHADE * face), 0, 1) * np.clip(inner.gap / (_RIM * face), _RIM_LIGHT, 1)
    inside *= np.maximum(0.4 + 0.6 * shade, own)[..., None]
    alpha = np.clip(inner.gap / max(1.0, _SOFT * face) + 0.5, 0, 1) * np.clip(inner.parted / 2, 0, 1) * inner.within
    target += (inside - target) * alpha[..., None]


@dataclass(frozen=True, slots=True)
class _Inside:
    """The rectangle around the parted lips; every field is (h, w) float32 over it, in frame pixels.

    Attributes:
        part: Where the rectangle lies in the window.
        t, v, below_upper, above_lower: As in MotionField.
        upper: v of the upper lip's inner edge as it is in the frame.
        own_gap: How far the lips are apart in the frame as it is.
        within: 1 between the corners of the mouth, 0 outside, soft.
    """

    part: tuple[slice, slice]
    t: Floats
    v: Floats
    below_upper: Floats
    above_lower: Floats
    upper: Floats
    own_gap: Floats
    within: Floats

    @property
    def gap(self) -> Floats:
        """Distance to the nearer moved lip, negative on it."""
        return np.minimum(self.below_upper, self.above_lower)

    @property
    def parted(self) -> Floats:
        """How far the moved lips are apart in this column."""
        return self.below_upper + self.above_lower

    @classmethod
    def of(cls, columns: MouthColumns, motion: MotionField, part: tuple[slice, slice]) -> "_Inside":
        t = motion.t[part]
        own = np.stack([columns.inner_upper, np.maximum(columns.inner_lower - columns.inner_upper, 0.1)])
        upper, own_gap = columns.at(own, t)
        within = np.clip((0.47 - np.abs(t) / columns.axes.width_px) / 0.1, 0, 1)
        below, above = motion.below_upper[part], motion.above_lower[part]
        return cls(part, t, motion.v[part], below, above, upper, own_gap, within.astype(np.float32))


def _parted(columns: MouthColumns, between: tuple[float, float]) -> float:
    """Tell how far the lips of the frame as it is are parted, 0 to 1 between two shares of the face height."""
    parting = columns.gap_px / columns.axes.face_px
    return float(np.clip((parting - between[0]) / (between[1] - between[0]), 0, 1))


def _own(before: Frame, inner: _Inside, columns: MouthColumns, teeth: float) -> tuple[Floats, Floats]:
    """The frame's own mouth, and where it is to be seen.

    The skull does not move when the jaw does: the upper part of the mouth, with its teeth, stays where it was. The
    lower part is drawn out to the moved lower lip as long as that takes little, unless it has teeth, which must not
    grow; beyond it the mouth below its own edge is painted. Where the upper lip was lifted, the first own pixels below
    it go on upwards.
    """
    depth, held = inner.v - inner.upper, _HELD * inner.own_gap
    stretch = np.maximum((depth + inner.above_lower - held) / (inner.own_gap - held), 1)
    drawn = np.clip(_DRAWN_UP_TO - stretch, 0, 1) * np.float32(1 - teeth)
    shift = np.where(depth > held, (depth - held) * (1 / stretch - 1) * drawn, np.maximum(_EDGE_PX - depth, 0))
    rows, cols = inner.part
    x = np.arange(cols.start, cols.stop, dtype=np.float32)[None, :] + shift * columns.axes.down[0]
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + shift * columns.axes.down[1]
    fetched = cv2.remap(
        before, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    edge = max(_EDGE_PX, _OWN_EDGE * columns.axes.face_px)
    above_edge = np.clip((inner.own_gap - depth - edge) / edge, 0, 1)
    share = np.maximum(drawn, above_edge)
    return np.asarray(fetched, np.float32), np.asarray(share, np.float32)


def _painted(inner: _Inside, columns: MouthColumns, own_teeth: float) -> Floats:
    """Dark, tongue and, where the frame shows none, upper teeth for skin of the reference brightness, (h, w, 3) BGR."""
    face, width = columns.axes.face_px, columns.axes.width_px
    opened = min(columns.opening_px / (0.07 * face), 1.0)
    side = inner.t / (_TEETH_WIDTH * width)
    skull = inner.upper + _RAISED * columns.gap_px
    edge = skull + _TEETH_LENGTH * face * (1 - 0.45 * side * side)
    teeth = np.clip((edge - inner.v) / max(0.01 * face, 1.0) + 0.5, 0, 1) * np.clip((1 - np.abs(side)) * 2.5, 0, 1)
    height = np.clip(inner.above_lower / (_TONGUE_HEIGHT * face), 0, 1)
    tongue = (1 - height * height) * np.clip(1.3 - (inner.t / (0.38 * width)) ** 2, 0, 1) * (0.4 + 0.6 * opened)
    inside = np.broadcast_to(_DARK, (*side.shape, 3)).copy()
    inside += (_TONGUE - inside) * tongue[..., None]
    bright = _TEETH * (0.55 + 0.45 * opened) * _tooth_shape(side, width)[..., None]
    inside += (bright - inside) * teeth[..., None] * np.float32(0.9 * (1 - own_teeth))
    return inside.astype(np.float32)


def _tooth_shape(side: Floats, width: float) -> Floats:
    """Brightness across the row of teeth: darker to the sides, with faint gaps where they would span several pixels."""
    arch = 1 - 0.45 * side * side
    if width < _GAPS_FROM_PX:
        return np.asarray(arch, np.float32)
    return np.asarray(arch * (1 - 0.12 * np.abs(np.cos(side * (np.pi * _TEETH_PER_SIDE))) ** 8), np.float32)
