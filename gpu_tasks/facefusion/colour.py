"""Brings a swapped crop into the light and colour of the face it replaces, in low frequencies only."""

from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import low_frequencies

# Of the field in which light is compared, and of the blur in it: coarser than features, finer than a cheek's shading.
FIELD: Final = 32
_SIGMA: Final = 4.0
# More is another face, not another light.
_GAIN: Final = (0.6, 1.7)
# Keeps the ratio of two dark values from running away.
_OFFSET: Final = 8.0


def light_between(swapped: Frame, target: Frame) -> Floats:
    """Return the gain that brings a swapped crop into the target's light.

    Args:
        swapped: (size, size, 3) uint8 BGR.
        target: The same crop before.

    Returns:
        (FIELD, FIELD, 3) float32, a factor per colour.
    """
    own, aim = (_smooth(crop) for crop in (swapped, target))
    return np.asarray(np.clip((aim + _OFFSET) / (own + _OFFSET), *_GAIN), np.float32)


def lit(swapped: Frame, light: Floats) -> Frame:
    """Return a crop, (size, size, 3) uint8 BGR, under a light, (FIELD, FIELD, 3) float32."""
    size = swapped.shape[1::-1]
    return np.asarray(cv2.multiply(swapped, cv2.resize(light, size), dtype=cv2.CV_8U), np.uint8)


def _smooth(crop: Frame) -> Floats:
    small = cv2.resize(crop, (FIELD, FIELD), interpolation=cv2.INTER_AREA).astype(np.float32)
    return low_frequencies(small, _middle(), _SIGMA)


@lru_cache(maxsize=1)
def _middle() -> Mask:
    """Where a crop shows the face in any template: an ellipse of three fifths."""
    y, x = np.mgrid[:FIELD, :FIELD].astype(np.float32)
    middle = (FIELD - 1) / 2
    radius = np.hypot((x - middle) / (0.30 * FIELD), (y - middle) / (0.38 * FIELD))
    return np.asarray(np.clip((1.2 - radius) / 0.4, 0, 1), np.float32)
