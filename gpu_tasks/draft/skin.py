"""Where on a face skin is seen: hair that falls over forehead and temples belongs to nobody's face."""

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import blurred
from gpu_tasks.faces.mesh import CHIN, FOREHEAD, JAW

_BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
_CHEEKS_AND_NOSE = (50, 280, 205, 425, 4, 5)
# brows, outer corners of the eyes, jaw and chin: hair lies outside, on forehead and temples
_FEATURES = (63, 105, 66, 107, 336, 296, 334, 293, 33, 263, *JAW)
# Distance from the cheeks' colour in Lab, lightness counted a third: surely skin up to the first, surely none from the
# second. Measured on the samples: shading stays below 20, hair in their light lies above 30.
_SKIN, _HAIR = 20.0, 32.0
_LIGHTNESS_WEIGHT = 0.35
# In face heights: pictures are compared without their grain, over patches, and the edge is drawn in and softened.
_GRAIN, _PATCH, _DRAWN_IN, _SOFT = 0.009, 0.03, 0.03, 0.025

_BROW_RISE = 0.12


def skin_mask(picture: Frame, points: Floats) -> Mask:
    """Tell skin from hair by the cheeks' colour; whatever lies among the features counts as skin.

    Args:
        picture: (height, width, 3) uint8 BGR.
        points: (468, 2) float32, the mesh in pixels of the picture.

    Returns:
        (height, width) float32, 0 where hair lies over the face. It means nothing beyond the face.
    """
    height = max(float(np.linalg.norm(points[FOREHEAD] - points[CHIN])), 1.0)
    plain = cv2.GaussianBlur(picture, (0, 0), max(_GRAIN * height, 0.5))
    lab = np.asarray(cv2.cvtColor(plain, cv2.COLOR_BGR2LAB), np.float32)
    away = np.abs(lab - _cheek_colour(lab, points, _PATCH * height))
    distance = away @ np.array([_LIGHTNESS_WEIGHT, 1, 1], np.float32)
    skin = np.asarray(np.clip((_HAIR - distance) / (_HAIR - _SKIN), 0, 1), np.float32)
    reach = 2 * round(_DRAWN_IN * height) + 1
    skin = np.asarray(cv2.erode(skin, np.ones((reach, reach), np.uint8)), np.float32)
    # what is dark among the features is eyes, brows, lips and folds
    hull = cv2.convexHull(_whole(points[list(_FEATURES)]))
    cv2.fillConvexPoly(skin, np.asarray(hull, np.int32), (1.0,))
    return blurred(skin, _SOFT * height)


def brow_mask(points: Floats, shape: tuple[int, int]) -> Mask:
    """Mark the brows and the skin above them up to where another face's brows may lie on the same mesh.

    The mesh holds brows lower than they are: measured on the samples, hairs of a brow lie up to an eighth of the face's
    height above its points.

    Args:
        points: (468, 2) float32, the mesh in pixels of the mask.
        shape: (height, width) of the mask.

    Returns:
        (height, width) float32, 0 or 1.
    """
    up = (points[FOREHEAD] - points[CHIN]) * _BROW_RISE
    mask = np.zeros(shape, np.float32)
    for brow in _BROWS:
        line = points[list(brow)]
        hull = cv2.convexHull(_whole(np.concatenate([line, line + up])))
        cv2.fillConvexPoly(mask, np.asarray(hull, np.int32), (1.0,))
    return mask


def _cheek_colour(lab: Floats, points: Floats, radius_px: float) -> Floats:
    """Median colour of cheeks and nose, (3,); of the whole picture when none of them is in it."""
    patches = np.zeros(lab.shape[:2], np.uint8)
    for x, y in _whole(points[list(_CHEEKS_AND_NOSE)]).tolist():
        cv2.circle(patches, (x, y), max(round(radius_px), 1), (255,), -1)
    seen = lab[patches > 0]
    return np.asarray(np.median(seen if len(seen) else lab.reshape(-1, 3), axis=0), np.float32)


def _whole(points: Floats) -> NDArray[np.int32]:
    return np.asarray(np.rint(points), np.int32)
