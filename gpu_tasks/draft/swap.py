"""Face swap without a generative network: the source's skin is laid over the target's mesh in the target's light.

Head shape, gaze, hair and the inside of the mouth stay the target's, so expression and lip-sync survive; skin, brows,
nose and lips become the source's. Features come from the source, large-scale light and colour from the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.draft.averaging import averaged
from gpu_tasks.draft.light import TrackLight
from gpu_tasks.draft.models import topology
from gpu_tasks.draft.raster import draw_mesh, facing_back_to_front
from gpu_tasks.draft.skin import brow_mask, skin_mask
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.faces.align import Window, blend, bounding_window, fit_similarity
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import blurred, faded_inward, outline_mask
from gpu_tasks.faces.mesh import (
    INNER_MOUTH,
    LEFT_EYE,
    OUTER_LOWER_LIP,
    OUTER_UPPER_LIP,
    OVAL,
    RIGHT_EYE,
    region_of,
)

# Longest sides of what is drawn over a face of any size and then enlarged: what the mesh carries is smooth, the edges
# of lids and lips are not.
_MESH_PX = 88
_MASK_PX = 128
_FADE = 0.13  # of the face's width, from the oval inward
_SHARP_ENOUGH = 1.6  # texture pixels per frame pixel above which the next smaller texture is taken
_KEPT = (INNER_MOUTH, LEFT_EYE, RIGHT_EYE)
_LIPS = (*OUTER_UPPER_LIP, *OUTER_LOWER_LIP[-2:0:-1])
_FEATURE_REACH = 0.03  # of the face's width: that far from its points a lid or a lip may still be


class DraftSwap:
    """Puts a source identity on tracked faces of one clip.

    Args:
        sources: One or more pictures of the same person, to be averaged.
    """

    def __init__(self, sources: Sequence[DraftSource]) -> None:
        self._source = averaged(sources)
        self._lights: dict[int, TrackLight] = {}

    def apply(self, frame: Frame, mesh_468: Floats, *, track_id: int | None = 0) -> Frame:
        """Swap one face.

        Args:
            frame: (height, width, 3) uint8 BGR.
            mesh_468: (468, 3) float32, the face in frame pixels.
            track_id: The face's track: light and colour are smoothed along it. None: those of this frame alone.

        Returns:
            A new frame of the same size; pixels outside the face are the input's, bit for bit.
        """
        out = frame.copy()
        window = bounding_window(mesh_468[:, :2], 2, frame.shape)
        if window.is_empty:
            return out
        drawn = _draw(frame, mesh_468, window, self._source)
        light = TrackLight() if track_id is None else self._lights.setdefault(track_id, TrackLight())
        gain = light.match(drawn.laid, drawn.below, drawn.compared, drawn.points, region_of(mesh_468))

        size = (window.right - window.left, window.bottom - window.top)
        places, mask, gain = (_resized(field, size) for field in (drawn.places, drawn.mask, gain))
        blend(window.of(out), _fetch(drawn.texture, places) * gain, mask)
        return out


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The source over one face, on two small grids over its window: the mesh's, and a finer one for the mask.

    Attributes:
        texture: The source's, neither too sharp nor too soft for the face.
        points: (468, 2) float32, the mesh in pixels of its grid.
        places: (rows, columns, 2) float32, which pixel of the texture is seen.
        laid: (rows, columns, 3) float32 BGR 0..255, the texture there.
        below: The same of the target.
        compared: (rows, columns) float32, where the light of the two is compared.
        mask: (finer rows, finer columns) float32, where the source is laid.
    """

    texture: Frame
    points: Floats
    places: Floats
    laid: Floats
    below: Floats
    compared: Mask
    mask: Mask


def _draw(frame: Frame, mesh_468: Floats, window: Window, source: DraftSource) -> _Drawn:
    points, shape = _on_grid(mesh_468, window, _MESH_PX)
    triangles = facing_back_to_front(mesh_468, topology().triangles)
    places, covered = draw_mesh(points, source.points, triangles, shape)
    below = np.asarray(cv2.resize(window.of(frame), shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    uncovered = skin_mask(below, points) * covered
    shown, skin = (_fetch(mask, places) * uncovered for mask in (source.shown, source.skin))
    level = _level(mesh_468, source)
    places *= np.float32(0.5**level)
    texture = source.textures[level]
    width = float(np.ptp(points[:, 0]))
    compared = _filled(points, (OVAL,), shape) * (1 - _features(points, _FEATURE_REACH * width, shape)) * skin
    return _Drawn(
        texture=texture,
        points=points,
        places=places,
        laid=_fetch(texture, places),
        below=below.astype(np.float32),
        compared=compared,
        mask=_mask(mesh_468, window, shown),
    )


def _mask(mesh_468: Floats, window: Window, shown: Mask) -> Mask:
    """Fade inward from the face's oval; leave out the eyes, the inner mouth and what is not shown."""
    points, shape = _on_grid(mesh_468, window, _MASK_PX)
    width = float(np.ptp(points[:, 0]))
    oval = outline_mask(points[list(OVAL)], shape)
    soft = blurred(faded_inward(oval, _FADE * width) * _resized(shown, shape[::-1]), 0.015 * width)
    kept = blurred(_filled(points, _KEPT, shape), 0.009 * width)
    return np.asarray(soft * (1 - kept) * (oval > 0), np.float32)


def _on_grid(mesh_468: Floats, window: Window, longest_px: int) -> tuple[Floats, tuple[int, int]]:
    """Lay a grid over a window: the mesh in its pixels, (468, 2), and its (height, width)."""
    width, height = window.right - window.left, window.bottom - window.top
    step = max(1.0, max(width, height) / longest_px)
    shape = (max(2, round(height / step)), max(2, round(width / step)))
    step_xy = np.array([width / shape[1], height / shape[0]], np.float32)
    corner = np.array([window.left, window.top], np.float32)
    return np.asarray((mesh_468[:, :2] - corner + 0.5) / step_xy - 0.5, np.float32), shape


def _level(mesh_468: Floats, source: DraftSource) -> int:
    fit = fit_similarity(mesh_468[:, :2], source.points)
    ratio = float(np.hypot(fit[0, 0], fit[1, 0]))
    return int(np.clip(np.ceil(np.log2(max(ratio, 1e-3) / _SHARP_ENOUGH)), 0, len(source.textures) - 1))


def _filled(points: Floats, parts: Sequence[Sequence[int]], shape: tuple[int, int]) -> Mask:
    """Fill parts of a face that do not overlap; edges softened by a pixel."""
    masks = [outline_mask(points[list(part)], shape) for part in parts]
    return np.asarray(np.maximum.reduce(masks), np.float32)


def _features(points: Floats, reach_px: float, shape: tuple[int, int]) -> Mask:
    """Mark eyes, brows and lips with their surroundings: how dark or red they are says nothing about the light."""
    marked = np.maximum(_filled(points, (_LIPS, LEFT_EYE, RIGHT_EYE), shape), brow_mask(points, shape))
    reach = 2 * max(round(reach_px), 1) + 1
    return np.asarray(cv2.dilate(marked, np.ones((reach, reach), np.uint8)), np.float32)


def _fetch(texture: Frame | Mask, places: Floats) -> Floats:
    x, y = cv2.split(places)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _resized(field: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)
