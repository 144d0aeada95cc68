"""Face detectors by their published files: YuNet, YOLO-Face, SCRFD, RetinaFace.

All see the frame scaled down to 640 pixels (never up) in the upper left corner of a black square.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import Face
from gpu_tasks.runtime.sessions import OnnxNetwork

_SIZE: Final = 640
_SCORE: Final = 0.5
_OVERLAP: Final = 0.4
_STRIDES: Final = (8, 16, 32)
_POINTS: Final = 5


class Found(NamedTuple):
    """What a network found, in pixels of the square.

    Attributes:
        boxes: (n, 4) float32, left, top, right, bottom.
        scores: (n,) float32, 0..1.
        points: (n, 5, 2) float32: eyes, nose, corners of the mouth.
    """

    boxes: Floats
    scores: Floats
    points: Floats


@dataclass(frozen=True, slots=True)
class DetectorFacts:
    """What is known of a detector.

    Attributes:
        model_id: Its file, by the manifest's name.
        scale: What a byte is multiplied with, after `mean` is taken off it.
        mean: In 0..255.
        outputs: How many the network has.
        decode: From its outputs to what it found.
    """

    model_id: str
    scale: float
    mean: float
    outputs: int
    decode: Callable[[list[Floats]], Found]


class OnnxDetector:
    """Finds faces in a frame.

    Args:
        network: Input `input` (1, 3, 640, 640), or of open size, BGR.
        facts: What it wants and says.
    """

    def __init__(self, network: OnnxNetwork, facts: DetectorFacts) -> None:
        network.check({"input": ("n", 3, _SIZE, _SIZE)})
        self._network = network
        self._facts = facts

    def detect(self, frame: Frame, *, tiles: bool = True) -> tuple[Face, ...]:
        """Return the faces of a frame, best first.

        Args:
            frame: (height, width, 3) uint8 BGR.
            tiles: Has no effect: the network sees enough at once.

        Raises:
            FaultError: MODEL_CORRUPT when the network answers in another layout.
        """
        del tiles
        height, width = frame.shape[:2]
        share = min(1.0, _SIZE / height, _SIZE / width)
        shape = (max(1, int(width * share)), max(1, int(height * share)))
        canvas = np.zeros((_SIZE, _SIZE, 3), np.uint8)
        canvas[: shape[1], : shape[0]] = frame if share == 1 else cv2.resize(frame, shape)
        mean = (self._facts.mean,) * 3
        outputs = self._network.run({"input": cv2.dnn.blobFromImage(canvas, self._facts.scale, mean=mean)})
        if len(outputs) != self._facts.outputs:
            raise FaultError(
                FaultCode.MODEL_CORRUPT, f"Model {self._network.name}: It has not {self._facts.outputs} outputs."
            )
        found = self._facts.decode(outputs)
        back = np.array([width / shape[0], height / shape[1]], np.float32)
        faces = [
            Found(found.boxes[kept] * np.tile(back, 2), found.scores[kept], found.points[kept] * back)
            for kept in _distinct(found)
        ]
        return tuple(_face(*face) for face in faces)


def _face(box: Floats, score: Floats, points: Floats) -> Face:
    # Six points are kept of a face (eyes, nose, mouth, ears); of these detectors' five the mouth has two.
    mouth = points[3:].mean(0, keepdims=True)
    six = np.concatenate([points[:3], mouth, points[3:]]).astype(np.float32)
    return Face(box.astype(np.float32), six, float(score))


def five_of(face: Face) -> Floats:
    """Return the five points of a face that one of these detectors found: (5, 2) float32, frame pixels."""
    return np.concatenate([face.points[:3], face.points[4:]]).astype(np.float32)


def _distinct(found: Found) -> list[int]:
    if not len(found.boxes):
        return []
    sized = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sized.tolist(), found.scores.tolist(), _SCORE, _OVERLAP)
    return [int(index) for index in np.asarray(kept).ravel()]


def _anchors(stride: int, times: int) -> Floats:
    """Corners of the cells, row by row, each so many times: (n, 2) float32, x and y in pixels of the square."""
    steps = np.arange(_SIZE // stride, dtype=np.float32) * stride
    y, x = np.meshgrid(steps, steps, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), times, axis=0)


def decode_yolo(outputs: list[Floats]) -> Found:
    """Decode (1, 20, n): centre, size, score, and five times x, y, confidence."""
    rows = outputs[0][0].T
    rows = rows[rows[:, 4] > _SCORE]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    return Found(boxes, rows[:, 4], rows[:, 5:].reshape(-1, _POINTS, 3)[:, :, :2])


def decode_distances(outputs: list[Floats]) -> Found:
    """Decode scores, then distances of the box's edges, then of the points, for strides 8, 16 and 32, in strides."""
    levels = len(_STRIDES)
    parts = []
    for level, stride in enumerate(_STRIDES):
        scores = outputs[level].reshape(-1)
        kept = np.flatnonzero(scores >= _SCORE)
        anchors = _anchors(stride, 2)[kept]
        edges = outputs[level + levels].reshape(-1, 4)[kept] * stride
        points = outputs[level + 2 * levels].reshape(-1, _POINTS, 2)[kept] * stride + anchors[:, None]
        parts.append(
            Found(np.concatenate([anchors - edges[:, :2], anchors + edges[:, 2:]], axis=1), scores[kept], points)
        )
    return _together(parts)


def decode_yunet(outputs: list[Floats]) -> Found:
    """Decode class, objectness, box (centre in strides, logarithm of the size) and points for each stride."""
    levels = len(_STRIDES)
    parts = []
    for level, stride in enumerate(_STRIDES):
        scores = (outputs[level] * outputs[level + levels]).reshape(-1)
        kept = np.flatnonzero(scores >= _SCORE)
        anchors = _anchors(stride, 1)[kept]
        box = outputs[level + 2 * levels].reshape(-1, 4)[kept]
        centre, half = box[:, :2] * stride + anchors, np.exp(box[:, 2:]) * stride / 2
        points = outputs[level + 3 * levels].reshape(-1, _POINTS, 2)[kept] * stride + anchors[:, None]
        parts.append(Found(np.concatenate([centre - half, centre + half], axis=1), scores[kept], points))
    return _together(parts)


def _together(parts: list[Found]) -> Found:
    boxes, scores, points = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Found(boxes, scores, points)


# The original service's names. Scale and mean: spec of each model.
DETECTORS: Final[Mapping[str, DetectorFacts]] = {
    "yolo_face": DetectorFacts("yoloface_8n", 1 / 255, 0.0, 1, decode_yolo),
    "yunet": DetectorFacts("yunet_2023_mar", 1.0, 0.0, 12, decode_yunet),
    "scrfd": DetectorFacts("scrfd_2.5g", 1 / 128, 127.5, 9, decode_distances),
    "retinaface": DetectorFacts("retinaface_10g", 1 / 128, 127.5, 9, decode_distances),
}
