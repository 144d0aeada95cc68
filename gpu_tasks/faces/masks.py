"""Masks over parts of a face: filled outlines and soft edges."""

import cv2
import numpy as np

from gpu_tasks.faces.arrays import Floats, Mask

_SUBPIXEL_BITS = 4


def outline_mask(outline: Floats, shape: tuple[int, int]) -> Mask:
    """Fill a polygon, with softened edges of about one pixel.

    Args:
        outline: (n, 2) float32, pixels.
        shape: (height, width) of the mask.

    Returns:
        (height, width) float32, 1 inside.
    """
    canvas = np.zeros(shape, np.uint8)
    fixed = np.rint(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], (255,), lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return np.asarray(canvas.astype(np.float32) / 255, np.float32)


def faded_inward(mask: Mask, width_px: float) -> Mask:
    """Let a mask rise smoothly from 0 at its edge to its own value `width_px` further in; nothing grows outward.

    Args:
        mask: (height, width) float32, 0..1.
        width_px: Width of the fade.
    """
    inside = np.pad((mask > 0.5).astype(np.uint8), 1)  # noqa: PLR2004 - half covered; the border counts as outside
    depth = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 3), np.float32)[1:-1, 1:-1]
    rise = np.clip(depth / max(width_px, 1.0), 0, 1)
    return np.asarray(mask * rise * rise * (3 - 2 * rise), np.float32)


def blurred(picture: Floats, sigma_px: float) -> Floats:
    """Gaussian blur of (h, w) or (h, w, c) float32."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma_px, 0.1)), np.float32)


def low_frequencies(picture: Floats, weight: Mask, sigma_px: float) -> Floats:
    """Blur only what counts: a weighted mean of the surroundings of each pixel, also defined where nothing counts.

    Args:
        picture: (h, w, 3) float32.
        weight: (h, w) float32, 0 where the picture's value must not enter.
        sigma_px: Standard deviation of the surroundings.
    """
    counted = max(float(weight.sum()), 1e-6)
    overall = (picture * weight[..., None]).sum((0, 1)) / counted
    # a trace of the overall mean fills what lies far from any counted pixel
    trace = np.float32(1e-3)
    above = blurred(picture * weight[..., None], sigma_px) + overall.astype(np.float32) * trace
    return np.asarray(above / (blurred(weight, sigma_px) + trace)[..., None], np.float32)
