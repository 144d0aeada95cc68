"""Crops larger than a network's: split into interleaved parts that it can see, and woven together again."""

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Frame


def interleaved(crop: Frame, times: int) -> NDArray[np.uint8]:
    """Split a crop into times * times smaller ones, each of every `times`-th pixel, first along the rows.

    Args:
        crop: (size, size, 3) uint8; `times` divides the size.
        times: How many along each side.

    Returns:
        (times * times, size / times, size / times, 3) uint8.
    """
    side = crop.shape[0] // times
    parts = crop.reshape(side, times, side, times, 3).transpose(1, 3, 0, 2, 4)
    return np.ascontiguousarray(parts).reshape(times * times, side, side, 3)


def together(parts: NDArray[np.uint8]) -> Frame:
    """Undo `interleaved`: (times * times, side, side, 3) uint8 to one crop."""
    times, side = round(len(parts) ** 0.5), parts.shape[1]
    woven = parts.reshape(times, times, side, side, 3).transpose(2, 0, 3, 1, 4)
    return np.ascontiguousarray(woven).reshape(side * times, side * times, 3)
