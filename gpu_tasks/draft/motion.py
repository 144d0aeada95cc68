"""The dense motion of the lower face: for every pixel of the result, where it lay in the frame."""

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.draft.mouth import REACH, MouthColumns
from gpu_tasks.faces.align import Window, bounding_window
from gpu_tasks.faces.arrays import Floats, Frame

_SPREAD = 0.16  # of the mouth width, from fully rounded to fully spread
_SPREAD_REACH = 0.35  # mouth widths above and below the lips over which drawing them wide fades
# Next to an open mouth the first pixels of a lip are half teeth and dark, the more the wider it is open (of the face
# height): there the lip is fetched from so much further in, fading over so many times that.
_LIP_EDGE_PX, _WIDE_LIP_EDGE, _LIP_EDGE_FADE = 1.8, 0.01, 2.2
_WIDE_OPEN = (0.04, 0.1)
_SAME_PLACE_PX = 0.1
_FIELD_PX = (
    110  # longest side of the computed field, which is smooth: a larger face gets it enlarged, its pixels stay its own
)


@dataclass(frozen=True, slots=True)
class MotionField:
    """One value per pixel of a window, (height, width) float32 each, pixels of the frame.

    Attributes:
        source_x, source_y: Where the pixel lay in the frame.
        other_x, other_y: Where it lay if it belongs to the other lip than the one it is nearer to.
        below_upper: How far the pixel is below the moved upper lip's inner edge; negative above it.
        above_lower: How far it is above the moved lower lip's inner edge; negative below it.
        t: Its column.
        v: Its place along the column.
    """

    source_x: Floats
    source_y: Floats
    other_x: Floats
    other_y: Floats
    below_upper: Floats
    above_lower: Floats
    t: Floats
    v: Floats


def motion_window(columns: MouthColumns, frame_shape: tuple[int, ...]) -> Window:
    """Smallest window that holds everything the motion can touch."""
    reach = REACH * columns.axes.width_px
    top = float(columns.nose.min())
    bottom = float((columns.chin + columns.jaw_shift + columns.neck_px).max())
    corners = np.array([[-reach, top], [reach, top], [reach, bottom], [-reach, bottom]], np.float32)
    return bounding_window(columns.axes.to_frame(corners), 1, frame_shape)


def motion_field(columns: MouthColumns, window: Window, spread: float) -> MotionField:
    """Compute the motion over a window.

    Args:
        columns: The plan.
        window: `motion_window` of it.
        spread: 0 rounded, 0.5 as in the frame, 1 drawn wide.
    """
    height, width = window.bottom - window.top, window.right - window.left
    step = max(1.0, max(height, width) / _FIELD_PX)
    rows, cols = max(2, round(height / step)), max(2, round(width / step))
    # cell centres in pixels, as cv2.resize places them
    x = (np.arange(cols, dtype=np.float32) + 0.5) * (width / cols) - 0.5 + window.left
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (height / rows) - 0.5 + window.top
    axes = columns.axes
    away_x, away_y = (x - axes.origin[0])[None, :], (y - axes.origin[1])[:, None]
    t = away_x * axes.along[0] + away_y * axes.along[1]
    v = away_x * axes.down[0] + away_y * axes.down[1]
    fields = [*_shifts(columns, t, v, spread), t, v]
    if step > 1:
        fields = [
            np.asarray(cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
            for field in fields
        ]
    shift_t, shift_upper, shift_lower, below_upper, above_lower, t, v = fields
    is_upper = below_upper < above_lower
    full_x = np.arange(window.left, window.right, dtype=np.float32)[None, :]
    full_y = np.arange(window.top, window.bottom, dtype=np.float32)[:, None]
    at_x, at_y = full_x - shift_t * axes.along[0], full_y - shift_t * axes.along[1]
    shifts = np.where(is_upper, shift_upper, shift_lower), np.where(is_upper, shift_lower, shift_upper)
    (own_x, own_y), (other_x, other_y) = (
        (np.asarray(at_x - shift * axes.down[0], np.float32), np.asarray(at_y - shift * axes.down[1], np.float32))
        for shift in shifts
    )
    return MotionField(own_x, own_y, other_x, other_y, below_upper, above_lower, t, v)


def fetch(frame: Frame, motion: MotionField) -> Floats:
    """Fetch the moved pixels of the window; where the lips meet, both are mixed over one pixel, so no stairs are seen.

    Args:
        frame: (height, width, 3) uint8 BGR.
        motion: The field over the window.

    Returns:
        (h, w, 3) float32 BGR, 0..255 and a little beyond at sharp edges.
    """
    moved = _fetched(frame, motion.source_x, motion.source_y)
    other = np.clip(0.5 - np.abs(motion.below_upper - motion.above_lower) / 2, 0, 1)
    # Beside the mouth both are the same pixel.
    apart = np.abs(motion.source_y - motion.other_y) + np.abs(motion.source_x - motion.other_x)
    differs = (other > 0) & (apart > _SAME_PLACE_PX)
    rows, cols = np.flatnonzero(differs.any(1)), np.flatnonzero(differs.any(0))
    if rows.size:
        part = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
        beside = _fetched(frame, motion.other_x[part], motion.other_y[part])
        moved[part] += (beside - moved[part]) * other[part][..., None]
    return moved


def _fetched(frame: Frame, x: Floats, y: Floats) -> Floats:
    # cubic, because bilinear fetching blurs by a changing amount and the skin would flicker
    fetched = cv2.remap(frame, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(fetched, np.float32)


def _shifts(columns: MouthColumns, t: Floats, v: Floats, spread: float) -> tuple[Floats, ...]:
    """Motion along t, motion along v for what belongs to the upper and to the lower lip, distances to their edges."""
    width = columns.axes.width_px
    far = np.abs(t) / width
    # grows to the corners, fades to the cheeks; gone at the nose, where the window ends
    pull = np.sign(t) * np.minimum(far, 0.5) * np.clip((REACH - far) / (REACH - 0.5), 0, 1)
    pull *= np.exp(-((v / (_SPREAD_REACH * width)) ** 2))
    nose = np.float32(columns.nose.mean())
    pull *= np.clip((v - nose) / (0.15 * width), 0, 1)
    shift_t = np.asarray((spread - 0.5) * _SPREAD * width * pull, np.float32)

    table = np.stack(
        [
            columns.nose,
            columns.outer_upper + columns.upper_shift,
            columns.inner_upper + columns.upper_shift,
            columns.upper_shift,
            columns.inner_lower + columns.lower_shift,
            columns.outer_lower + columns.lower_shift,
            columns.chin + columns.jaw_shift,
            columns.neck_px,
            columns.lower_shift,
            columns.jaw_shift,
            _lip_edge(columns),
        ]
    )
    at = columns.at(table, t - shift_t)
    nose_v, upper_outer, upper_inner, upper, lower_inner, lower_outer, chin, neck, lower, jaw, inward = at
    shift_upper = upper * _eased((v - nose_v) / np.maximum(upper_outer - nose_v, 1))
    to_chin = _eased((v - lower_outer) / np.maximum(chin - lower_outer, 1))
    to_neck = _eased((v - chin) / neck)
    shift_lower = (lower + (jaw - lower) * to_chin) * (1 - to_neck)
    fade = _LIP_EDGE_FADE * np.maximum(inward, 1)
    shift_upper += inward * np.clip(1 - np.abs(v - upper_inner) / fade, 0, 1)
    shift_lower -= inward * np.clip(1 - np.abs(v - lower_inner) / fade, 0, 1)
    floats = (shift_t, shift_upper, shift_lower, v - upper_inner, lower_inner - v)
    return tuple(np.asarray(field, np.float32) for field in floats)


def _lip_edge(columns: MouthColumns) -> Floats:
    """How far in from its edge a lip is only lip, by column, in pixels."""
    gap, face = columns.inner_lower - columns.inner_upper, columns.axes.face_px
    corner = np.clip((0.5 - np.abs(columns.t) / columns.axes.width_px) / 0.15, 0, 1)
    wide = np.clip((columns.gap_px / face - _WIDE_OPEN[0]) / (_WIDE_OPEN[1] - _WIDE_OPEN[0]), 0, 1)
    return np.asarray(np.clip(gap / 2, 0, 1) * corner * (_LIP_EDGE_PX + wide * _WIDE_LIP_EDGE * face), np.float32)


def _eased(x: Floats) -> Floats:
    """Smoothstep: 0 below 0, 1 above 1, without a kink at either end."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)
