"""What is seen between parted lips: the frame's own teeth where there are any, else painted ones, tongue and dark."""

import numpy as np

from gpu_tasks.draft.motion import MotionField
from gpu_tasks.draft.mouth import COLUMNS, MouthColumns
from gpu_tasks.faces.arrays import Floats, Frame

# Colours are BGR for skin of luma 150 and scale with the light on the face.
_DARK = np.array([24, 19, 44], np.float32)
_TONGUE = np.array([72, 68, 138], np.float32)
_TEETH = np.array([150, 166, 176], np.float32)
_SKIN_LUMA = 150.0
_LUMA = np.array([0.114, 0.587, 0.299], np.float32)

_TEETH_LENGTH = 0.036  # of the face height, below the resting lip line
_TEETH_WIDTH = 0.36  # of the mouth width, to either side
_OWN_GAP = (0.025, 0.06)  # of the face height: from this parting on the frame's own mouth is shown, below it is a line
_SHADE = 0.03  # of the face height: the upper lip shades what lies closer below it than this
_RIM = 0.012  # of the face height: so far the inside is darker along both lips
_TONGUE_HEIGHT = 0.05  # of the face height, above the lower lip
_TEETH_PER_SIDE = 3.5
_GAPS_FROM_PX = 70.0  # width of a mouth
_LINE_DARKNESS = 0.25
_LINE_REACH = 3.0


def paint_cavity(lips: Floats, before: Frame, columns: MouthColumns, motion: MotionField) -> None:
    """Paint the mouth's inside over the moved lips, in place, softened over about one pixel at the lips' edges.

    Args:
        lips: (h, w, 3) float32 BGR 0..255, the moved window.
        before: (h, w, 3) uint8 BGR, the same window of the frame.
        columns: The plan.
        motion: The field over the window.
    """
    gap = np.minimum(motion.below_upper, motion.above_lower)
    rows, cols = np.flatnonzero((gap > -_LINE_REACH).any(1)), np.flatnonzero((gap > -_LINE_REACH).any(0))
    if not rows.size:
        return
    part = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    t, v, gap, parted = motion.t[part], motion.v[part], gap[part], (motion.below_upper + motion.above_lower)[part]
    face, width = columns.axes.face_px, columns.axes.width_px
    light = float((before.reshape(-1, 3).astype(np.float32) @ _LUMA).mean()) / _SKIN_LUMA
    within = np.clip((0.47 - np.abs(t) / width) / 0.1, 0, 1)

    # closed lips meet in a dark line; where they part it becomes the shade inside
    line = np.exp(-((gap / max(0.9, 0.006 * face)) ** 2)) * within * np.clip(1 - parted / 4, 0, 1)
    lips[part] *= (1 - _LINE_DARKNESS * line)[..., None]

    column = np.clip(np.rint((t - columns.t[0]) / (columns.t[1] - columns.t[0])), 0, COLUMNS - 1).astype(np.intp)
    inner_upper, inner_lower = columns.inner_upper[column], columns.inner_lower[column]
    inside = _painted(t, v, inner_upper, motion.above_lower[part], columns) * light
    # the skull does not move when the jaw does: the frame's own teeth stay where they were
    own = np.clip(np.minimum(v - inner_upper, inner_lower - v) / 1.5, 0, 1)
    shown = (columns.gap_px / face - _OWN_GAP[0]) / (_OWN_GAP[1] - _OWN_GAP[0])
    own *= np.clip(shown, 0, 1)
    inside += (before[part] - inside) * own[..., None]
    shade = np.clip(motion.below_upper[part] / (_SHADE * face), 0, 1) * np.clip(gap / (_RIM * face), 0.4, 1)
    inside *= np.maximum(0.4 + 0.6 * shade, own)[..., None]
    alpha = np.clip(gap + 0.5, 0, 1) * np.clip(parted, 0, 1) * (within > 0)
    lips[part] += (inside - lips[part]) * alpha[..., None]


def _painted(t: Floats, v: Floats, inner_upper: Floats, above_lower: Floats, columns: MouthColumns) -> Floats:
    face, width = columns.axes.face_px, columns.axes.width_px
    opened = min(columns.opening_px / (0.07 * face), 1.0)
    side = t / (_TEETH_WIDTH * width)
    edge = inner_upper + _TEETH_LENGTH * face * (1 - 0.45 * side * side)
    soft = max(0.01 * face, 1.0)
    teeth = np.clip((edge - v) / soft + 0.5, 0, 1) * np.clip((1 - np.abs(side)) * 2.5, 0, 1)
    tongue = np.clip(above_lower / (_TONGUE_HEIGHT * face), 0, 1)
    tongue = (1 - tongue * tongue) * np.clip(1 - (t / (0.34 * width)) ** 2, 0, 1) * opened
    inside = np.broadcast_to(_DARK, (*t.shape, 3)).copy()
    inside += (_TONGUE - inside) * tongue[..., None]
    inside += (_TEETH * (0.55 + 0.45 * opened) * _tooth_shape(side, width)[..., None] - inside) * teeth[..., None] * 0.9
    return inside.astype(np.float32)


def _tooth_shape(side: Floats, width: float) -> Floats:
    """Brightness across the row of teeth: darker to the sides, with faint gaps where they would span several pixels."""
    arch = 1 - 0.45 * side * side
    if width < _GAPS_FROM_PX:
        return np.asarray(arch, np.float32)
    return np.asarray(arch * (1 - 0.12 * np.abs(np.cos(side * (np.pi * _TEETH_PER_SIDE))) ** 8), np.float32)
