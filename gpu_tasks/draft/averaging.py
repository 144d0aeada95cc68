"""Several pictures of one person made one source: what they agree on is averaged, the best gives the fine detail."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.draft.light import TrackLight
from gpu_tasks.draft.models import topology
from gpu_tasks.draft.raster import draw_mesh
from gpu_tasks.draft.source import DraftSource, made_of
from gpu_tasks.faces.align import Region
from gpu_tasks.faces.arrays import Floats, Mask
from gpu_tasks.faces.masks import blurred, faded_inward, outline_mask
from gpu_tasks.faces.mesh import OUTER_LOWER_LIP, OUTER_UPPER_LIP

# In pixels of a texture in which a face is about 340 high: finer than this, two pictures' features lie beside each
# other and would be doubled.
_FINE_PX = 5.0
_FADE_PX = 40.0
_SOFT_PX = 10.0
_HARDLY = 1e-3
_LIPS = (*OUTER_UPPER_LIP, *OUTER_LOWER_LIP[-2:0:-1])


def averaged(sources: Sequence[DraftSource]) -> DraftSource:
    """Average the sources of one identity, each by its merit, on the best one's mesh and in its light.

    An expression or a shadow that only one picture has loses weight; where hair hides the best one's skin, the others
    show theirs.

    Args:
        sources: One or more.
    """
    best = max(sources, key=lambda source: source.merit)
    others = [source for source in sources if source is not best]
    if not others:
        return best
    points = best.points
    pictures, weights = [best.textures[0].astype(np.float32)], [best.skin * np.float32(best.merit)]
    for other in others:
        picture, skin = _on_mesh_of(best, other)
        pictures.append(picture)
        weights.append(skin * np.float32(other.merit))
    broad = [blurred(picture, _FINE_PX) for picture in pictures]
    weights[0] = weights[0] + np.float32(_HARDLY)  # where no picture shows skin, the best one's is taken as it is
    # Fine detail comes from the best picture where it shows skin, elsewhere from those that do.
    fine_weights = [weights[0], *(weight * (1 - best.skin) for weight in weights[1:])]
    fine = [picture - smooth for picture, smooth in zip(pictures, broad, strict=True)]
    texture = _mean(broad, weights) + _mean(fine, fine_weights)
    skin = np.asarray(np.maximum.reduce([best.skin, *(w / s.merit for w, s in zip(weights[1:], others, strict=True))]))
    return made_of(np.asarray(np.clip(np.rint(texture), 0, 255), np.uint8), points, skin, best.merit)


def _on_mesh_of(best: DraftSource, other: DraftSource) -> tuple[Floats, Mask]:
    """Return another source's texture on the best one's mesh, in its light, and where it shows skin there."""
    size = best.textures[0].shape[0]
    places, drawn = draw_mesh(best.points, other.points, _seen_in_both(best.points, other.points), (size, size))
    x, y = cv2.split(places)
    # Towards the mesh's edge, and on lips, which are never alike in two pictures, the best one's count alone.
    lips = blurred(outline_mask(best.points[list(_LIPS)], (size, size)), _SOFT_PX)
    counted = faded_inward(drawn.astype(np.float32), _FADE_PX) * np.clip(1 - 3 * lips, 0, 1)
    skin = np.asarray(cv2.remap(other.skin, x, y, cv2.INTER_LINEAR) * counted, np.float32)
    picture = np.asarray(
        cv2.remap(other.textures[0], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    below = best.textures[0].astype(np.float32)
    upright = Region(size / 2, size / 2, size, 0.0)
    gain = TrackLight().match(picture, below, np.asarray(skin * best.skin, np.float32), best.points, upright)
    return picture * gain, skin


def _seen_in_both(points: Floats, others: Floats) -> NDArray[np.int64]:
    """Return the triangles that turn the same side to the viewer in both pictures."""
    triangles = topology().triangles
    areas = [_areas(placed[triangles]) for placed in (points, others)]
    seen = np.logical_and(*(area * np.sign(area.sum()) > 0 for area in areas))
    chosen: NDArray[np.int64] = triangles[seen]
    return chosen


def _areas(corners: Floats) -> Floats:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], np.float32)


def _mean(pictures: Sequence[Floats], weights: Sequence[Mask]) -> Floats:
    """Weighted mean of (h, w, 3) pictures."""
    total = np.add.reduce(list(weights))
    return np.asarray(
        np.add.reduce([picture * weight[..., None] for picture, weight in zip(pictures, weights, strict=True)])
        / np.maximum(total, 1e-6)[..., None],
        np.float32,
    )
