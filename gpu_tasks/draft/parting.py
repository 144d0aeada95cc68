"""Where lips part over teeth: the mesh network takes teeth that are clenched behind parted lips for closed lips.

Teeth are less red than the lips above and below them, and not dark as a line between closed lips is. Where such a band
lies between the lips, their inner edges are moved apart to its ends; they are never moved together.
"""

from typing import Final

import numpy as np

from gpu_tasks.draft.colours import luma_and_redness
from gpu_tasks.draft.mouth import MouthAxes
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import INNER_LOWER_LIP, INNER_UPPER_LIP, OUTER_LOWER_LIP, OUTER_UPPER_LIP

_ROWS, _COLUMNS = 32, 12
_WIDTH = 0.2  # of the mouth's width, to either side: the corners are red without teeth
# By how much a band is less red than either lip. Measured on the sample: 0.05 to 0.19 with teeth, below 0.03 without.
_TEETH: Final = (0.04, 0.08)
# Of the lips' luma: where it is darker, it is shade and not teeth.
_DARK: Final = (0.75, 0.95)


def with_parting_seen(frame: Frame, mesh_468: Floats) -> Floats:
    """Move the inner edges of lips that part over teeth to where they are seen.

    Args:
        frame: (height, width, 3) uint8 BGR.
        mesh_468: (468, 3) float32, the face in frame pixels.

    Returns:
        The mesh itself, or a copy with lips further apart.
    """
    axes = MouthAxes.of(mesh_468)
    points = axes.to_mouth(mesh_468[:, :2])
    t = np.linspace(-_WIDTH, _WIDTH, _COLUMNS, dtype=np.float32) * np.float32(axes.width_px)

    def line(indices: tuple[int, ...]) -> Floats:
        curve = points[list(indices)]
        return np.asarray(np.interp(t, np.maximum.accumulate(curve[:, 0]), curve[:, 1]), np.float32)

    top, bottom = line(OUTER_UPPER_LIP), line(OUTER_LOWER_LIP)
    depths = np.linspace(0, 1, _ROWS, dtype=np.float32)
    luma, redness = luma_and_redness(frame, axes, t, top + (bottom - top) * depths[:, None])
    band = _band(luma.mean(1), redness.mean(1))
    if band is None:
        return mesh_468
    height = (bottom - top).mean()
    upper = float((band[0] * height + (top - line(INNER_UPPER_LIP)).mean()) * band[2])
    lower = float((band[1] * height + (top - line(INNER_LOWER_LIP)).mean()) * band[2])
    moved = mesh_468.copy()
    for curve, way in ((INNER_UPPER_LIP, min(upper, 0.0)), (INNER_LOWER_LIP, max(lower, 0.0))):
        share = np.sqrt(1 - np.linspace(-1, 1, len(curve), dtype=np.float32) ** 2)
        moved[list(curve), :2] += share[:, None] * np.float32(way) * axes.down
    return moved


def _band(luma: Floats, redness: Floats) -> tuple[float, float, float] | None:
    """Find teeth in profiles from the upper lip's upper to the lower lip's lower edge.

    Returns:
        Upper and lower end of the teeth, 0..1 of the profile, and how sure it is that they are teeth, 0..1; or None.
    """
    quarter = len(redness) // 4
    least = quarter + int(np.argmin(redness[quarter:-quarter]))
    above, below = int(np.argmax(redness[:least])), least + int(np.argmax(redness[least:]))
    dip = float(min(redness[above], redness[below]) - redness[least])
    light = float(luma[least]) / max(float(luma[[above, below]].mean()), 1.0)
    sure = _risen(dip, _TEETH) * _risen(light, _DARK)
    if sure == 0:
        return None
    upper = _crossing(redness[above : least + 1], float(redness[above] + redness[least]) / 2)
    lower = _crossing(redness[least : below + 1][::-1], float(redness[below] + redness[least]) / 2)
    last = len(redness) - 1
    return (above + upper) / last, (below - lower) / last, sure


def _crossing(falling: Floats, level: float) -> float:
    """How many steps it takes until a profile that begins above a level is below it."""
    first = int(np.argmax(falling < level))
    step = float(falling[first - 1] - falling[first])
    return first - 1 + float(falling[first - 1] - level) / max(step, 1e-6)


def _risen(value: float, between: tuple[float, float]) -> float:
    return float(np.clip((value - between[0]) / (between[1] - between[0]), 0, 1))
