"""The 68 points of a face by a network of its own: 2dfan4 or peppa_wutz."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from gpu_tasks.faces.align import invert, transform, warp
from gpu_tasks.faces.arrays import Affine, Floats, Frame
from gpu_tasks.runtime.sessions import OnnxNetwork

_SIZE: Final = 256
_FACE: Final = 195
_DARK: Final = 30
_GRID: Final = 64


@dataclass(frozen=True, slots=True)
class LandmarkerFacts:
    """How a network says points and score.

    Attributes:
        decode: From its outputs to (68, 2) float32 in cells of 64, and a score.
        best: The raw score that counts as 1.
    """

    decode: Callable[[list[Floats]], tuple[Floats, float]]
    best: float


class Landmarker:
    """Places the 68 points on one face.

    Args:
        network: Input `input` (1, 3, 256, 256) BGR, 0..1.
        facts: How it says them.
    """

    def __init__(self, network: OnnxNetwork, facts: LandmarkerFacts) -> None:
        network.check({"input": ("n", 3, _SIZE, _SIZE)})
        self._network = network
        self._facts = facts

    def landmarks(self, frame: Frame, box: Floats, angle: float = 0.0) -> tuple[Floats, float]:
        """Return the points of the face in a box.

        Args:
            frame: (height, width, 3) uint8 BGR.
            box: (4,) float32, left, top, right, bottom, frame pixels.
            angle: The head's roll in radians; the network is shown the nearest quarter turn.

        Returns:
            (68, 2) float32, frame pixels; and the score, 0..1.
        """
        affine = landmark_affine(box, angle)
        crop = _brightened(warp(frame, affine, _SIZE))
        points, raw = self._facts.decode(self._network.run({"input": cv2.dnn.blobFromImage(crop, 1 / 255)}))
        placed = transform((points * (_SIZE / _GRID)).astype(np.float32), invert(affine))
        return placed, float(np.interp(raw, [0, self._facts.best], [0, 1]))


def landmark_affine(box: Floats, angle: float) -> Affine:
    """Frame to crop: the box's longer side takes 195 of 256 pixels, centred, turned by quarters."""
    scale = _FACE / max(float((box[2:] - box[:2]).max()), 1.0)
    quarter = round(angle / (np.pi / 2)) * np.pi / 2
    cos, sin = np.cos(quarter) * scale, np.sin(quarter) * scale
    x, y = ((box[:2] + box[2:]) / 2).tolist()
    half = _SIZE / 2
    return np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]], np.float32)


def _brightened(crop: Frame) -> Frame:
    lab = cv2.cvtColor(crop, cv2.COLOR_RGB2LAB)
    if lab[:, :, 0].mean() >= _DARK:
        return crop
    lab[:, :, 0] = cv2.createCLAHE(clipLimit=2).apply(np.ascontiguousarray(lab[:, :, 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _decode_2dfan4(outputs: list[Floats]) -> tuple[Floats, float]:
    points, heatmaps = outputs[:2]
    return points[0, :, :2], float(heatmaps.max(axis=(2, 3)).mean())


def _decode_peppa(outputs: list[Floats]) -> tuple[Floats, float]:
    points = outputs[0].reshape(-1, 3)
    return points[:, :2], float(points[:, 2].mean())


LANDMARKERS: Final[Mapping[str, LandmarkerFacts]] = {
    "2dfan4": LandmarkerFacts(_decode_2dfan4, 0.9),
    "peppa_wutz": LandmarkerFacts(_decode_peppa, 0.95),
}
