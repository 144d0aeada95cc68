"""How far a mouth is open, by its pixels alone: the dark between the lips, in a window that goes with the face.

No mesh takes part. A mesh network reports parted lips for closed ones and knows only faces like those it was trained
on; the inside of a mouth is darker than lips and skin whatever made the picture.
"""

from typing import Final

import cv2
import numpy as np

from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.quality.following import EYES_TO_MOUTH, TEMPLATE, Place

_SIZE_PX: Final = 96
_REACH: Final = 0.64  # sides of the detector's box: nostrils to chin
_CENTRE: Final = (0.0, float(TEMPLATE[3, 1]) + 0.03)
# Rows and columns of the window: skin and lips for comparison; the lips' middle third, below the nostrils.
_SKIN: Final = (slice(20, 90), slice(16, 80))
_MIDDLE: Final = (slice(22, 80), slice(32, 64))
_SKIN_PERCENTILE: Final = 60.0
# Luma as a share of the skin's: a line between closed lips lies above the first, the inside of a mouth below the
# second (measured on real speech; correlation with a mesh's opening moves by 0.02 for 0.05 either way).
_NOT_INSIDE: Final = 0.65
_INSIDE: Final = 0.40
_LUMA: Final = np.array([0.114, 0.587, 0.299], np.float32)


def mouth_opening(frame: Frame, place: Place) -> float:
    """Measure the height of the mouth's inside, averaged over the middle third of the lips.

    Teeth count as inside where it is dark above and below them. What a beard hides is not seen.

    Args:
        frame: (height, width, 3) uint8 BGR.
        place: Where the face is.

    Returns:
        Height as a share of the distance from the eyes to the mouth: about 0 for closed lips, 0.2 for a wide vowel.
    """
    window = mouth_window(frame, place)
    luma = cv2.GaussianBlur(np.asarray(window, np.float32) @ _LUMA, (0, 0), 0.8)
    skin = max(float(np.percentile(luma[_SKIN], _SKIN_PERCENTILE)), 1.0)
    dark = np.clip((_NOT_INSIDE - np.asarray(luma[_MIDDLE], np.float32) / skin) / (_NOT_INSIDE - _INSIDE), 0, 1)
    return float(_filled(dark).sum(0).mean()) * _REACH / _SIZE_PX / EYES_TO_MOUTH


def mouth_window(frame: Frame, place: Place) -> Frame:
    """Return the window in which the opening is measured, (96, 96, 3) uint8 BGR, upright."""
    return place.crop(frame, _CENTRE, _REACH, _SIZE_PX)


def _filled(dark: Floats) -> Floats:
    """Count what lies between two dark places of a column as dark, too."""
    above = np.maximum.accumulate(dark, axis=0)
    below = np.maximum.accumulate(dark[::-1], axis=0)[::-1]
    return np.asarray(np.minimum(above, below), np.float32)
