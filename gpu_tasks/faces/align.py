"""Between a frame and an aligned crop: similarity affines, warp, paste_back.

An affine is a (2, 3) float32 matrix from frame to crop pixels. Pixel centres lie at whole numbers, as in OpenCV.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Affine, Floats, Frame, Mask


class Region(NamedTuple):
    """A turned square in a frame: centre and side in pixels, angle of its x axis in radians (y points down)."""

    centre_x: float
    centre_y: float
    side_px: float
    angle: float


class Window(NamedTuple):
    """An upright rectangle of whole pixels in a frame; `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def is_empty(self) -> bool:
        return self.right <= self.left or self.bottom <= self.top

    def of(self, frame: Frame) -> Frame:
        """Return the view of `frame` inside the window."""
        return frame[self.top : self.bottom, self.left : self.right]


def crop_affine(region: Region, size: int) -> Affine:
    """Similarity that maps `region` of a frame onto the square 0..size of a crop."""
    scale = size / region.side_px
    cos, sin = np.cos(region.angle) * scale, np.sin(region.angle) * scale
    x, y, half = region.centre_x, region.centre_y, size / 2
    return np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]], np.float32)


def fit_similarity(points: Floats, onto: Floats) -> Affine:
    """Least-squares similarity (Umeyama, without reflection) from `points` to `onto`.

    Args:
        points: (n, 2) float32.
        onto: (n, 2) float32, the places where `points` shall land.

    Returns:
        (2, 3) float32.
    """
    centre, goal = points.mean(0), onto.mean(0)
    a, b = points - centre, onto - goal
    spread = float((a * a).sum()) or 1.0
    cos = float((a * b).sum()) / spread
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / spread
    turn = np.array([[cos, -sin], [sin, cos]], np.float32)
    return np.concatenate([turn, (goal - turn @ centre)[:, None]], axis=1).astype(np.float32)


def transform(points: Floats, affine: Affine) -> Floats:
    """Map (n, 2) points through an affine."""
    return (points @ affine[:, :2].T + affine[:, 2]).astype(np.float32)


def invert(affine: Affine) -> Affine:
    """Return the affine from crop to frame pixels."""
    return np.asarray(cv2.invertAffineTransform(affine), np.float32)


def warp(frame: Frame, affine: Affine, size: int) -> Frame:
    """Cut an aligned crop out of a frame; beyond the frame's edge the edge pixel repeats.

    Returns:
        (size, size, 3) uint8 BGR. Shrinking by more than two is averaged first, so that no detail aliases.
    """
    scale = float(np.hypot(affine[0, 0], affine[1, 0]))
    if scale < 0.5:  # noqa: PLR2004 - bilinear sampling reads two pixels: below one half it would skip some
        inside = window_of(invert(affine), size, frame.shape[:2])
        if not inside.is_empty:
            return _warp_shrunk(inside.of(frame), affine, inside, scale, size)
    return _as_frame(cv2.warpAffine(frame, affine, (size, size), borderMode=cv2.BORDER_REPLICATE))


def window_of(inverse: Affine, size: int, frame_shape: tuple[int, ...]) -> Window:
    """Smallest window of a frame that holds the whole crop, cut at the frame's edge."""
    corners = np.array([[-1, -1], [size, -1], [size, size], [-1, size]], np.float32)
    return bounding_window(transform(corners, inverse), 0, frame_shape)


def bounding_window(points: Floats, margin_px: float, frame_shape: tuple[int, ...]) -> Window:
    """Smallest window that holds (n, 2) points and a margin, cut at the frame's edge; may be empty."""
    height, width = frame_shape[:2]
    low = np.floor(points.min(0) - margin_px).astype(int)
    high = np.ceil(points.max(0) + margin_px).astype(int) + 1
    return Window(max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height))


def paste_back(frame: Frame, crop: NDArray[np.generic], mask: Mask, affine: Affine) -> Frame:
    """Blend a crop into a copy of the frame; only the crop's bounding box is computed.

    Args:
        frame: (height, width, 3) uint8 BGR.
        crop: (size, size, 3) uint8 or float32 in 0..255, BGR.
        mask: (size, size) float32, 0 keeps the frame, 1 takes the crop.
        affine: The affine with which the crop was warped.

    Returns:
        A new frame; pixels outside the mask are the input's, bit for bit.
    """
    size = crop.shape[0]
    inverse = invert(affine)
    window = window_of(inverse, size, frame.shape[:2])
    out = frame.copy()
    if window.is_empty:
        return out
    local = inverse.copy()
    local[:, 2] -= (window.left, window.top)
    shape = (window.right - window.left, window.bottom - window.top)
    alpha = cv2.warpAffine(mask, local, shape)  # zero outside: the crop's edge never shows
    pixels = cv2.warpAffine(crop.astype(np.float32), local, shape, borderMode=cv2.BORDER_REPLICATE)
    blend(window.of(out), np.asarray(pixels, np.float32), np.asarray(alpha, np.float32))
    return out


def blend(below: Frame, above: Floats, alpha: Mask) -> None:
    """Blend (h, w, 3) float32 `above` into the uint8 view `below`, in place, rounding to nearest."""
    base = below.astype(np.float32)
    base += (above - base) * alpha[..., None]
    np.copyto(below, np.clip(np.rint(base), 0, 255).astype(np.uint8))


def _warp_shrunk(inside: Frame, affine: Affine, window: Window, scale: float, size: int) -> Frame:
    height, width = inside.shape[:2]
    small = cv2.resize(
        inside, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    step_x, step_y = width / small.shape[1], height / small.shape[0]
    # small pixel -> frame pixel, then on to the crop; half pixels because areas, not points, were averaged
    to_frame = np.array(
        [[step_x, 0, (step_x - 1) / 2 + window.left], [0, step_y, (step_y - 1) / 2 + window.top], [0, 0, 1]], np.float32
    )
    whole = np.vstack([affine, [0, 0, 1]]).astype(np.float32)
    return _as_frame(
        cv2.warpAffine(small, (whole @ to_frame)[:2].astype(np.float32), (size, size), borderMode=cv2.BORDER_REPLICATE)
    )


def _as_frame(pixels: NDArray[np.generic]) -> Frame:
    return np.asarray(pixels, np.uint8)
