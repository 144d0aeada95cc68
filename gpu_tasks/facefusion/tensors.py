"""From crops to the tensors that networks take, and back."""

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

Colour = tuple[float, float, float]

_ZEROS: Colour = (0.0, 0.0, 0.0)
_ONES: Colour = (1.0, 1.0, 1.0)


def tensor_of(crops: NDArray[np.uint8], mean: Colour = _ZEROS, std: Colour = _ONES) -> Floats:
    """Return (x / 255 - mean) / std.

    Args:
        crops: (n, height, width, 3) uint8 BGR.
        mean: Of red, green, blue, 0..1.
        std: The same.

    Returns:
        (n, 3, height, width) float32 RGB.
    """
    count, height, width = crops.shape[:3]
    tensor = np.empty((count, 3, height, width), np.float32)
    for crop, planes in zip(crops, tensor, strict=True):
        # One pass a plane: five times as fast as OpenCV's blobFromImages (measured).
        for channel, plane, offset, scale in zip(cv2.split(crop)[::-1], planes, mean, std, strict=True):
            cv2.addWeighted(channel, 1 / (255 * scale), channel, 0, -offset / scale, dst=plane, dtype=cv2.CV_32F)
    return tensor


def crops_of(tensor: Floats, mean: Colour = _ZEROS, std: Colour = _ONES) -> NDArray[np.uint8]:
    """Return x * std + mean as pixels: rounded, what is darker than black or lighter than white is cut.

    Args:
        tensor: (n, 3, height, width) float32 RGB.
        mean: Of red, green, blue, 0..1.
        std: The same.

    Returns:
        (n, height, width, 3) uint8 BGR.
    """
    count, _, height, width = tensor.shape
    crops = np.empty((count, height, width, 3), np.uint8)
    for planes, crop in zip(tensor, crops, strict=True):
        # One pass a plane: scaled, rounded and cut to a byte at once.
        red, green, blue = (
            cv2.addWeighted(plane, 255 * scale, plane, 0, 255 * offset, dtype=cv2.CV_8U)
            for plane, scale, offset in zip(planes, std, mean, strict=True)
        )
        cv2.merge([blue, green, red], dst=crop)
    return crops
