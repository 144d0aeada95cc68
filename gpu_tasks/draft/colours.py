"""Light and redness at places given in a mouth's own axes: what tells lips, skin, teeth and shade apart."""

from typing import Final

import cv2
import numpy as np

from gpu_tasks.draft.mouth import MouthAxes
from gpu_tasks.faces.arrays import Floats, Frame

_LUMA: Final = np.array([0.114, 0.587, 0.299], np.float32)
_DARKEST: Final = 8.0  # keeps redness from being a ratio of noise


def luma_and_redness(frame: Frame, axes: MouthAxes, t: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Look at a grid of places.

    Args:
        frame: (height, width, 3) uint8 BGR.
        axes: The mouth's.
        t: (columns,) float32, places along the mouth.
        v: (rows, columns) float32, places down each column.

    Returns:
        Two of (rows, columns) float32: luma, 0..255; and (red - green) / red, which is 0.3 to 0.45 on the sample's
        lips, 0.16 on its skin, and about 0.1 on its teeth.
    """
    flat = np.stack([np.broadcast_to(t, v.shape).ravel(), v.ravel()], axis=1).astype(np.float32)
    at = axes.to_frame(flat)
    fetched = cv2.remap(frame, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    bgr = np.asarray(fetched, np.float32).reshape(*v.shape, 3)
    redness = (bgr[..., 2] - bgr[..., 1]) / (bgr[..., 2] + _DARKEST)
    return np.asarray(bgr @ _LUMA, np.float32), np.asarray(redness, np.float32)
