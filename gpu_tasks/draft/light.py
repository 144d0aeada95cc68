"""Matches a laid-on texture to the light and colour of the face below it, steadily along a track."""

import cv2
import numpy as np

from gpu_tasks.faces.align import Region, crop_affine, invert
from gpu_tasks.faces.arrays import Affine, Floats, Mask
from gpu_tasks.faces.masks import low_frequencies

_SIZE = 48  # of the aligned field in which a track's light is remembered
_SPREAD = 0.08  # of the field: coarser than features, finer than the shading of a cheek
_GAIN = (0.04, 4.0)  # a face at night on a portrait in studio light needs a tenth
_OFFSET = 2.0  # keeps the ratio of two black values from running away
_TAKE = 0.3  # of each new frame's light: at 30 fps it follows a passing shadow in a fifth of a second


class TrackLight:
    """Light and colour of one track. Frames come in order."""

    def __init__(self) -> None:
        self._remembered: Floats | None = None

    def match(self, laid: Floats, below: Floats, skin: Mask, points: Floats, region: Region) -> Floats:
        """Return the gain that brings the texture into the target's light.

        Args:
            laid: (rows, columns, 3) float32 BGR 0..255, the source's texture over the face.
            below: (rows, columns, 3) float32 BGR 0..255, the target.
            skin: (rows, columns) float32, where the two may be compared.
            points: (468, 2) float32, the mesh on this grid.
            region: The face's region in the frame; only its angle is used.

        Returns:
            (rows, columns, 3) float32, a factor per colour.
        """
        to_face = _face_affine(points, region)
        aligned = [_aligned(field, to_face) for field in (below, laid, skin)]
        aim, own = (low_frequencies(field, aligned[2], _SPREAD * _SIZE) for field in aligned[:2])
        now = np.asarray(np.clip((aim + _OFFSET) / (own + _OFFSET), *_GAIN), np.float32)
        if self._remembered is None:
            self._remembered = now
        else:
            self._remembered = self._remembered + (now - self._remembered) * np.float32(_TAKE)
        size = (skin.shape[1], skin.shape[0])
        steady = cv2.warpAffine(self._remembered, invert(to_face), size, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(steady, np.float32)


def _face_affine(points: Floats, region: Region) -> Affine:
    """Grid to the aligned field: upright and filled by the face, however the head is held."""
    centre = (points.min(0) + points.max(0)) / 2
    side = float(np.ptp(points, axis=0).max()) * 1.1
    return crop_affine(Region(float(centre[0]), float(centre[1]), side, region.angle), _SIZE)


def _aligned(field: Floats, to_face: Affine) -> Floats:
    return np.asarray(cv2.warpAffine(field, to_face, (_SIZE, _SIZE), borderMode=cv2.BORDER_REPLICATE), np.float32)
