"""Face swap without a generative network: the source's skin is laid over the target's mesh in the target's light.

Head shape, gaze, and the inside of the mouth stay the target's, so expression and lip-sync survive; skin, brows, nose
and lips become the source's. Large features come from the source, large-scale light and colour from the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_tasks.draft.light import TrackLight
from gpu_tasks.draft.models import topology
from gpu_tasks.draft.raster import draw_mesh, facing_back_to_front
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.faces.align import Window, blend, bounding_window, fit_similarity
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import blurred, faded_inward, outline_mask
from gpu_tasks.faces.mesh import INNER_MOUTH, LEFT_EYE, OVAL, RIGHT_EYE, region_of

_GRID_PX = 112  # longest side of the drawn mesh; what is drawn is smooth, so it is enlarged to any face
_FADE = 0.13  # of the face's width, from the oval inward
_SHARP_ENOUGH = 1.6  # texture pixels per frame pixel above which the next smaller texture is taken


class DraftSwap:
    """Puts a source identity on tracked faces of one clip.

    Args:
        sources: One or more pictures of the same person. The best one is used (largest, most frontal); they are not
            averaged, because textures of different expressions do not lie on each other to the pixel.
    """

    def __init__(self, sources: Sequence[DraftSource]) -> None:
        self._source = max(sources, key=lambda source: source.merit)
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
        drawn = _draw(mesh_468, window, self._source)
        small = np.asarray(
            cv2.resize(window.of(frame), (drawn.mask.shape[1], drawn.mask.shape[0]), interpolation=cv2.INTER_AREA),
            np.float32,
        )
        texture, scale = self._source.textures[drawn.level], 0.5**drawn.level
        laid = _fetch(texture, drawn.places * scale)
        light = TrackLight() if track_id is None else self._lights.setdefault(track_id, TrackLight())
        gain = light.match(laid, small, drawn.skin, drawn.points, region_of(mesh_468))

        size = (window.right - window.left, window.bottom - window.top)
        places, mask, gain = (_enlarged(field, size) for field in (drawn.places * scale, drawn.mask, gain))
        blend(window.of(out), _fetch(texture, places) * gain, mask)
        return out


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The source over one face, on a small grid over its window.

    Attributes:
        points: (468, 2) float32, the mesh in grid pixels.
        places: (rows, columns, 2) float32, texture pixels of level 0.
        mask: (rows, columns) float32, where the source is laid.
        skin: (rows, columns) float32, where light and colour are compared.
        level: Which texture is neither too sharp nor too soft.
    """

    points: Floats
    places: Floats
    mask: Mask
    skin: Mask
    level: int


def _draw(mesh_468: Floats, window: Window, source: DraftSource) -> _Drawn:
    width, height = window.right - window.left, window.bottom - window.top
    step = max(1.0, max(width, height) / _GRID_PX)
    shape = (max(2, round(height / step)), max(2, round(width / step)))
    step_xy = np.array([width / shape[1], height / shape[0]], np.float32)
    corner = np.array([window.left, window.top], np.float32)
    points = ((mesh_468[:, :2] - corner + 0.5) / step_xy - 0.5).astype(np.float32)
    triangles = facing_back_to_front(mesh_468, topology().triangles)
    places, covered = draw_mesh(points, source.points, triangles, shape)

    oval = outline_mask(points[list(OVAL)], shape) * covered
    kept = np.maximum.reduce([outline_mask(points[list(part)], shape) for part in (INNER_MOUTH, LEFT_EYE, RIGHT_EYE)])
    seen = _fetch(source.skin, places)
    face_width = float(np.ptp(points[:, 0]))
    soft = blurred(faded_inward(oval, _FADE * face_width) * seen, 0.015 * face_width)
    mask = soft * (1 - blurred(kept, 0.009 * face_width)) * (oval > 0)
    skin = oval * (1 - np.minimum(blurred(kept, 0.02 * face_width) * 2, 1)) * seen
    fit = fit_similarity(mesh_468[:, :2], source.points)
    ratio = float(np.hypot(fit[0, 0], fit[1, 0]))
    level = int(np.clip(np.ceil(np.log2(max(ratio, 1e-3) / _SHARP_ENOUGH)), 0, len(source.textures) - 1))
    return _Drawn(points, places, np.asarray(mask, np.float32), np.asarray(skin, np.float32), level)


def _fetch(texture: Frame | Mask, places: Floats) -> Floats:
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _enlarged(field: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_LINEAR), np.float32)
