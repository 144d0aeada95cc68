"""Puts a crop back into its frame, in place."""

import cv2
import numpy as np

from gpu_tasks.faces.align import invert, window_of
from gpu_tasks.faces.arrays import Affine, Frame, Mask


def paste_into(frame: Frame, crop: Frame, mask: Mask, affine: Affine) -> None:
    """Blend a crop into a frame; only the crop's bounding box is touched.

    Args:
        frame: (height, width, 3) uint8 BGR; changed.
        crop: (size, size, 3) uint8 BGR.
        mask: (size, size) float32, 0 keeps the frame, bit for bit, 1 takes the crop.
        affine: Frame to crop.
    """
    size = crop.shape[0]
    inverse = invert(affine)
    window = window_of(inverse, size, frame.shape)
    if window.is_empty:
        return
    local = inverse.copy()
    local[:, 2] -= (window.left, window.top)
    shape = (window.right - window.left, window.bottom - window.top)
    # Zero outside: the crop's edge never shows.
    taken = np.asarray(cv2.warpAffine(mask, local, shape), np.float32)
    pixels = cv2.warpAffine(crop, local, shape, borderMode=cv2.BORDER_REPLICATE)
    below = window.of(frame)
    below[...] = cv2.blendLinear(np.ascontiguousarray(below), pixels, 1 - taken, taken)
