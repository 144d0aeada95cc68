"""MediaPipe's short-range face detector (BlazeFace): boxes and six key points."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from gpu_tasks.faces.align import Region
from gpu_tasks.faces.arrays import Floats, Frame, Network

_SIZE = 128
_CELLS_AND_ANCHORS = ((16, 2), (8, 6))  # the two strides of the network: cells per side, anchors per cell
_SCORE = 0.5
_OVERLAP = 0.3
_TILE = 0.6  # of each side; 2x2 tiles then share a fifth, so a face on the middle line is whole in one of them
_REGION_PER_BOX = 1.5  # the mesh network was trained on the box grown by half


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    Attributes:
        box: (4,) float32, left, top, right, bottom in frame pixels.
        points: (6, 2) float32 in frame pixels: eyes, nose tip, mouth, ears, the right one first.
        score: 0..1.
    """

    box: Floats
    points: Floats
    score: float

    @property
    def region(self) -> Region:
        """The turned square in which the mesh network looks."""
        (left, top, right, bottom), eyes = self.box.tolist(), self.points[1] - self.points[0]
        side = max(right - left, bottom - top) * _REGION_PER_BOX
        return Region((left + right) / 2, (top + bottom) / 2, side, float(np.arctan2(eyes[1], eyes[0])))


class Detects(Protocol):
    """Any detector of faces."""

    def detect(self, frame: Frame, *, tiles: bool = True) -> tuple[Face, ...]:
        """Return the faces of a frame, (height, width, 3) uint8 BGR, best first."""
        ...


class FaceDetector:
    """Finds faces in a frame.

    The network sees 128x128 pixels: faces under about a tenth of the frame's longer side are missed in one look.
    Only when nothing is found does a second look go over 2x2 overlapping tiles.

    Args:
        network: Input `input` (1, 3, 128, 128) RGB in -1..1; outputs `regressors` (1, 896, 16) and
            `classificators` (1, 896, 1).
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._anchors = _anchors()

    def detect(self, frame: Frame, *, tiles: bool = True) -> tuple[Face, ...]:
        """Return the faces of a frame, best first.

        Args:
            frame: (height, width, 3) uint8 BGR.
            tiles: Look again in four tiles when the whole frame shows no face.
        """
        faces = self._look(frame, 0, 0)
        if faces or not tiles:
            return _suppress(faces)
        height, width = frame.shape[:2]
        tile_height, tile_width = round(height * _TILE), round(width * _TILE)
        found = [
            face
            for top in (0, height - tile_height)
            for left in (0, width - tile_width)
            for face in self._look(frame[top : top + tile_height, left : left + tile_width], left, top)
        ]
        return _suppress(found)

    def _look(self, frame: Frame, left: int, top: int) -> list[Face]:
        height, width = frame.shape[:2]
        scale = _SIZE / max(height, width)
        to_net = np.array(
            [[scale, 0, (_SIZE - width * scale) / 2], [0, scale, (_SIZE - height * scale) / 2]], np.float32
        )
        small = cv2.resize(
            frame, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
        )
        canvas = np.zeros((_SIZE, _SIZE, 3), np.uint8)
        y, x = (_SIZE - small.shape[0]) // 2, (_SIZE - small.shape[1]) // 2
        canvas[y : y + small.shape[0], x : x + small.shape[1]] = small
        to_net[:, 2] = (x, y)
        tensor = np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 127.5 - 1
        raw, logits = self._network.run(["regressors", "classificators"], {"input": tensor})
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -60, 60)))
        keep = np.flatnonzero(scores > _SCORE)
        # raw offsets are in pixels of the 128 px canvas, relative to the anchor
        pairs = raw[0, keep].reshape(-1, 8, 2)
        anchors = self._anchors[keep] * _SIZE
        centre, half, points = pairs[:, 0] + anchors, pairs[:, 1] / 2, pairs[:, 2:] + anchors[:, None]
        shift = np.array([left, top], np.float32)
        boxes = (np.concatenate([centre - half, centre + half], 1).reshape(-1, 2, 2) - to_net[:, 2]) / scale + shift
        points = (points - to_net[:, 2]) / scale + shift
        return [
            Face(box.reshape(4).astype(np.float32), point.astype(np.float32), float(score))
            for box, point, score in zip(boxes, points, scores[keep], strict=True)
        ]


def box_overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one (4,) box with (n, 4) boxes, 0..1."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1)
    area = float(np.clip(box[2:] - box[:2], 0, None).prod())
    return np.asarray(shared / np.maximum(areas + area - shared, 1e-9), np.float32)


def _anchors() -> Floats:
    rows = []
    for cells, anchors in _CELLS_AND_ANCHORS:
        steps = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(steps, steps, indexing="ij")
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), anchors, axis=0))
    return np.concatenate(rows).astype(np.float32)


def _suppress(faces: list[Face]) -> tuple[Face, ...]:
    """Weighted non-maximum suppression, as the network's authors do it: overlapping faces are averaged by score."""
    rest = sorted(faces, key=lambda face: -face.score)
    kept: list[Face] = []
    while rest:
        overlap = box_overlap(rest[0].box, np.stack([face.box for face in rest]))
        same = [face for face, share in zip(rest, overlap, strict=True) if share > _OVERLAP] or rest[:1]
        weights = np.array([face.score for face in same], np.float32)
        kept.append(
            Face(
                np.average([face.box for face in same], axis=0, weights=weights).astype(np.float32),
                np.average([face.points for face in same], axis=0, weights=weights).astype(np.float32),
                rest[0].score,
            )
        )
        rest = [face for face, share in zip(rest[1:], overlap[1:], strict=True) if share <= _OVERLAP]
    return tuple(kept)
