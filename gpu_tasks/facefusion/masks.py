"""How much of a swapped crop is taken: masks by the formulas of the documented pipeline (FaceFusion 3.8)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.options import MaskRegion
from gpu_tasks.facefusion.tensors import tensor_of
from gpu_tasks.faces.arrays import Floats, Frame, Mask
from gpu_tasks.faces.masks import faded_inward, outline_mask
from gpu_tasks.faces.mesh import OVAL
from gpu_tasks.runtime.sessions import OnnxNetwork

# Of the 68 points, the hull of which makes an area.
_AREAS: Final[Mapping[str, tuple[int, ...]]] = {
    "upper-face": (*(0, 1, 2, 31, 32, 33, 34, 35, 14, 15, 16), *range(26, 16, -1)),
    "lower-face": (*range(3, 14), 35, 34, 33, 32, 31),
    "mouth": tuple(range(48, 68)),
}
# Classes of BiSeNet as trained on CelebAMask-HQ.
_REGIONS: Final[Mapping[MaskRegion, int]] = {
    "skin": 1,
    "left-eyebrow": 2,
    "right-eyebrow": 3,
    "left-eye": 4,
    "right-eye": 5,
    "glasses": 6,
    "nose": 10,
    "mouth": 11,
    "upper-lip": 12,
    "lower-lip": 13,
}
_REGION_CLASSES: Final = 19
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_OCCLUDER_SIZE: Final = 256
_PARSER_SIZE: Final = 512
_SOFT_SIGMA: Final = 5
# Of the crop's side: from the outline of the face inwards the hull rises over this width.
_HULL_FEATHER: Final = 0.06


@lru_cache(maxsize=64)
def box_mask(size: int, blur: float, padding: tuple[int, int, int, int]) -> Mask:
    """Mask a whole crop but its soft edges. Cached: do not write into it.

    Args:
        size: Of the crop's side, pixels.
        blur: 0..1, width of the edges.
        padding: Top, right, bottom, left, percent of the side that is left out.

    Returns:
        (size, size) float32.
    """
    amount = int(size * 0.5 * blur)
    least = max(amount // 2, 1)
    top, right, bottom, left = (max(least, int(size * percent / 100)) for percent in padding)
    mask = np.zeros((size, size), np.float32)
    mask[top : size - bottom, left : size - right] = 1
    if amount > 0:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), amount * 0.25), np.float32)
    mask.setflags(write=False)
    return mask


def area_mask(landmarks_68: Floats, size: int, areas: Sequence[str]) -> Mask:
    """Mask the hull of some areas of a face.

    Args:
        landmarks_68: (68, 2) float32, crop pixels.
        size: Of the crop's side, pixels.
        areas: Names: upper-face, lower-face, mouth.

    Returns:
        (size, size) float32.
    """
    points = landmarks_68[[point for area in areas for point in _AREAS[area]]]
    mask = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(mask, np.asarray(cv2.convexHull(points.astype(np.int32)), np.int32), (1.0,))
    return softened(mask)


def hull_mask(mesh_468: Floats, size: int) -> Mask:
    """Mask the face's oval: (size, size) float32, soft inwards, zero outside of the face.

    Args:
        mesh_468: (468, 2) or (468, 3) float32, crop pixels.
        size: Of the crop's side, pixels.
    """
    return faded_inward(outline_mask(mesh_468[list(OVAL), :2], (size, size)), _HULL_FEATHER * size)


def softened(mask: Mask) -> Mask:
    """Soften a mask's edges inwards: (size, size) float32, 0..1; what was half or less becomes 0."""
    soft = cv2.GaussianBlur(np.clip(mask, 0, 1), (0, 0), _SOFT_SIGMA)
    return np.asarray((np.clip(soft, 0.5, 1) - 0.5) * 2, np.float32)


def smallest(masks: Sequence[Mask]) -> Mask:
    """Return what all masks leave, (size, size) float32, 0..1."""
    return np.asarray(np.clip(np.minimum.reduce(masks), 0, 1), np.float32) if len(masks) > 1 else masks[0]


class Occluder:
    """Sees what covers a face: XSeg.

    Args:
        network: Input `input` (1, 256, 256, 3) BGR, 0..1; output (1, 256, 256, 1), 1 where the face is seen.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.check({"input": ("n", _OCCLUDER_SIZE, _OCCLUDER_SIZE, 3)})
        self._network = network

    def mask(self, crop: Frame) -> Mask:
        """Mask what of a crop, (size, size, 3) uint8 BGR, is not covered: (size, size) float32."""
        seen = crop if crop.shape[0] == _OCCLUDER_SIZE else cv2.resize(crop, (_OCCLUDER_SIZE, _OCCLUDER_SIZE))
        (made,) = self._network.run({"input": seen[None].astype(np.float32) / 255})
        uncovered = np.clip(made[0, :, :, 0], 0, 1)
        return softened(np.asarray(cv2.resize(uncovered, crop.shape[1::-1]), np.float32))


class Parser:
    """Tells the regions of a face apart: BiSeNet.

    Args:
        network: Input `input` (1, 3, 512, 512) RGB, ImageNet's mean and deviation; first output (1, 19, 512, 512).
    """

    def __init__(self, network: OnnxNetwork) -> None:
        network.check({"input": ("n", 3, _PARSER_SIZE, _PARSER_SIZE)})
        self._network = network

    def mask(self, crop: Frame, regions: Sequence[MaskRegion]) -> Mask:
        """Mask some regions of the face in a crop, (size, size, 3) uint8 BGR: (size, size) float32.

        Raises:
            FaultError: MODEL_CORRUPT when the network gives something else than 19 classes.
        """
        seen = cv2.resize(crop, (_PARSER_SIZE, _PARSER_SIZE))
        tensor = tensor_of(np.asarray(seen, np.uint8)[None], _IMAGENET_MEAN, _IMAGENET_STD)
        classes = self._network.run({"input": tensor})[0]
        if classes.shape[1] != _REGION_CLASSES:
            raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It does not tell 19 regions apart.")
        wanted = np.isin(classes[0].argmax(0), [_REGIONS[region] for region in regions]).astype(np.float32)
        return softened(np.asarray(cv2.resize(wanted, crop.shape[1::-1]), np.float32))
