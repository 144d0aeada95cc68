"""Where the lower lip of a wide-open mouth really ends: the mesh network takes a raised tongue for the lip.

Lips are redder than the skin below them. That edge is looked for around the place where the mesh has it, only in mouths
so far open that the mesh is known to err, and the lower lip is moved there.
"""

from typing import Final

import numpy as np

from gpu_tasks.draft.colours import luma_and_redness
from gpu_tasks.draft.mouth import MouthAxes
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import INNER_LOWER_LIP, INNER_UPPER_LIP, JAW, OUTER_LOWER_LIP

# Of the face height. Measured on the sample: below the first parting the mesh is right to 0.02, in a shout it is up to
# 0.08 too high.
_OPEN: Final = (0.08, 0.12)
_UP, _DOWN = 0.06, 0.12
_LIP: Final = 0.03  # of the face height above and below an edge that is compared
# Of the lip's way, at either end of a line and in its middle: the corners of the mouth hang on the lip in part, and so
# does the chin; the angles of the jaw stay.
_HANGING: Final = ((INNER_LOWER_LIP, 0.4, 1.0), (OUTER_LOWER_LIP, 0.4, 1.0), (JAW, 0.0, 0.5))
_STEPS = 37
_COLUMNS = 16
_WIDTH = 0.2  # of the mouth's width, to either side: the lip's middle, which hangs down as one
# Redness is (red - green) / red; on the sample lips have 0.30, skin 0.16. Half of that is an edge, a quarter is none.
_EDGE: Final = (0.035, 0.07)


def with_lower_lip_seen(frame: Frame, mesh_468: Floats) -> Floats:
    """Move the lower lip of a wide-open mouth to where it is seen.

    Args:
        frame: (height, width, 3) uint8 BGR.
        mesh_468: (468, 3) float32, the face in frame pixels.

    Returns:
        The mesh itself, or a copy with another lower lip.
    """
    axes = MouthAxes.of(mesh_468)
    points = axes.to_mouth(mesh_468[:, :2])
    middle = len(INNER_UPPER_LIP) // 2
    parting = float(points[INNER_LOWER_LIP[middle], 1] - points[INNER_UPPER_LIP[middle], 1]) / axes.face_px
    open_ = float(np.clip((parting - _OPEN[0]) / (_OPEN[1] - _OPEN[0]), 0, 1))
    if open_ == 0:
        return mesh_468
    drop = _edge(_redness(frame, axes, points[list(OUTER_LOWER_LIP)])) * axes.face_px * open_
    moved = mesh_468.copy()
    for line, ends, middle_share in _HANGING:
        arch = np.sqrt(1 - np.linspace(-1, 1, len(line), dtype=np.float32) ** 2)
        share = np.float32(ends) + np.float32(middle_share - ends) * arch
        moved[list(line), :2] += share[:, None] * np.float32(drop) * axes.down
    return moved


def _redness(frame: Frame, axes: MouthAxes, outer_lip: Floats) -> Floats:
    """Mean redness across the lip's middle, at _STEPS places from above to below its mesh's lower edge."""
    t = np.linspace(-_WIDTH, _WIDTH, _COLUMNS, dtype=np.float32) * np.float32(axes.width_px)
    edge = np.interp(t, np.maximum.accumulate(outer_lip[:, 0]), outer_lip[:, 1])
    v = np.asarray(edge + _places()[:, None] * axes.face_px, np.float32)
    return np.asarray(luma_and_redness(frame, axes, t, v)[1].mean(1), np.float32)


def _places() -> Floats:
    """Distances to the mesh's edge, in face heights; compared are those that have a lip's breadth on both sides."""
    return np.linspace(-_UP - _LIP, _DOWN + _LIP, _STEPS, dtype=np.float32)


def _edge(redness: Floats) -> float:
    """Where redness falls from lip to skin, in face heights below the mesh's edge; 0 where it does not."""
    places = _places()
    breadth = round(_LIP / float(places[1] - places[0]))
    sums = np.concatenate([[0], np.cumsum(redness, dtype=np.float64)])
    means = (sums[breadth:] - sums[:-breadth]) / breadth
    # means[k] is that of the `breadth` places from k on
    fall = means[: len(means) - breadth] - means[breadth:]
    middle = places[breadth : breadth + len(fall)] - (places[1] - places[0]) / 2
    steep = np.maximum(fall - 0.8 * fall.max(), 0)
    if fall.max() <= _EDGE[0]:
        return 0.0
    sure = float(np.clip((fall.max() - _EDGE[0]) / (_EDGE[1] - _EDGE[0]), 0, 1))
    return float((middle * steep).sum() / steep.sum()) * sure
