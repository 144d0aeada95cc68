"""What is seen between parted lips: the frame's own teeth where there are any, else painted ones, tongue and dark."""

import numpy as np

from gpu_tasks.draft.motion import MotionField
from gpu_tasks.draft.mouth import COLUMNS, MouthColumns
from gpu_tasks.faces.arrays import Floats, Frame

# Colours are BGR for skin of luma 150 and scale with the light on the face.
_DARK = np.array([20, 16, 38], np.float32)
_TONGUE = np.array([66, 62, 124], np.float32)
_TEETH = np.array([142, 158, 168], np.float32)
_SKIN_LUMA = 150.0
_LUMA = np.array([0.114, 0.587, 0.299], np.float32)

_TEETH_LENGTH = 0.036  # of the face height, below the resting lip line
_TEETH_WIDTH = 0.36  # of the mouth width, to either side
_OWN_GAP = (0.025, 0.06)  # of the face height: from this parting on the frame's own mouth is shown, below it is a line
_SHADE = 0.045  # of the face height: the lips shade what lies closer to them than this


def paint_cavity(lips: Floats, before: Frame, columns: MouthColumns, motion: MotionField) -> None:
    """Paint the mouth's inside over the moved lips, in place, softened over about one pixel at the lips' edges.

    Args:
        lips: (h, w, 3) float32 BGR 0..255, the moved window.
        before: (h, w, 3) uint8 BGR, the same window of the frame.
        columns: The plan.
        motion: The field over the window.
    """
    gap = np.minimum(motion.below_upper, motion.above_lower)
    rows, cols = np.flatnonzero((gap > -1).any(1)), np.flatnonzero((gap > -1).any(0))
    if columns.opening_px < 1 or not rows.size:
        return
    part = (slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
    t, v, gap = motion.t[part], motion.v[part], gap[part]
    face = columns.axes.face_px
    column = np.clip(np.rint((t - columns.t[0]) / (columns.t[1] - columns.t[0])), 0, COLUMNS - 1).astype(np.intp)
    inner_upper, inner_lower = columns.inner_upper[column], columns.inner_lower[column]
    light = float((before.reshape(-1, 3).astype(np.float32) @ _LUMA).mean()) / _SKIN_LUMA
    inside = _painted(t, v, inner_upper, motion.above_lower[part], columns) * light

    # the skull does not move when the jaw does: the frame's own teeth stay where they were
    own = np.clip(np.minimum(v - inner_upper, inner_lower - v) / 1.5, 0, 1)
    shown = (columns.gap_px / face - _OWN_GAP[0]) / (_OWN_GAP[1] - _OWN_GAP[0])
    own *= np.clip(shown, 0, 1)
    inside += (before[part] - inside) * own[..., None]
    shade = np.clip(gap / (_SHADE * face), 0, 1)
    inside *= np.maximum(0.45 + 0.55 * shade, own)[..., None]
    alpha = np.clip(gap + 0.5, 0, 1)[..., None]
    lips[part] += (inside - lips[part]) * alpha


def _painted(t: Floats, v: Floats, inner_upper: Floats, above_lower: Floats, columns: MouthColumns) -> Floats:
    face, width = columns.axes.face_px, columns.axes.width_px
    opened = min(columns.opening_px / (0.07 * face), 1.0)
    side = t / (_TEETH_WIDTH * width)
    edge = inner_upper + _TEETH_LENGTH * face * (1 - 0.35 * side * side)
    soft = max(0.008 * face, 0.8)
    teeth = np.clip((edge - v) / soft + 0.5, 0, 1) * np.clip((1 - np.abs(side)) * 3, 0, 1) * (0.35 + 0.45 * opened)
    tongue_top = 0.045 * face
    tongue = np.clip(1 - above_lower / tongue_top, 0, 1) * np.clip(1 - (t / (0.3 * width)) ** 2, 0, 1) * 0.75 * opened
    inside = np.broadcast_to(_DARK, (*t.shape, 3)).copy()
    inside += (_TONGUE - inside) * tongue[..., None]
    inside += (_TEETH - inside) * teeth[..., None]
    return inside.astype(np.float32)
