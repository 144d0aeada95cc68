"""Where the faces of a clip are, by the detector alone: its key points need no mesh and no model of a mouth."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from gpu_tasks.faces.align import Window, fit_similarity, warp
from gpu_tasks.faces.arrays import Affine, Floats, Frame
from gpu_tasks.faces.detector import Face, FaceDetector, box_overlap

# Right eye, left eye, nose tip, mouth in sides of the detector's box, from the middle between the eyes: their means
# over the frontal faces of the samples (measured).
TEMPLATE: Final = np.array([[-0.215, 0], [0.215, 0], [0, 0.23], [0, 0.465]], np.float32)
# Distance from the eyes to the mouth in the same unit: what openings are told in.
EYES_TO_MOUTH: Final = 0.465
# A face's oval in the same unit, and everything that a change of the face may touch: hairline to collar.
FACE_CENTRE: Final = (0.0, 0.27)
FACE_HALF_AXES: Final = (0.38, 0.46)
TOUCHED_HALF_AXES: Final = (0.78, 1.0)

_LOOK_EVERY: Final = 15  # frames between two searches of the whole frame
_TILES_EVERY: Final = 5  # of the searches of a clip without faces; tiles cost four times as much
_AROUND: Final = 2.2  # box sides: where a face is looked for in the next frame
_SAME_FACE: Final = 0.3
_MOST_FACES: Final = 6
_CUT: Final = 0.35  # box sides from one frame to the next: no head moves so fast
# Savitzky-Golay coefficients of order 2 (Savitzky and Golay 1964, table I), by half width: the detector trembles by
# half a percent of the face (measured), a steady motion stays where it is.
_WEIGHTS: Final = {2: np.array([-3, 12, 17, 12, -3]) / 35, 3: np.array([-2, 3, 6, 7, 6, 3, -2]) / 21}
HALF_WIDTH: Final = 3


class Place(NamedTuple):
    """A face in a frame: `fit` maps sides of the detector's box (TEMPLATE's unit) to frame pixels, (2, 3) float32."""

    fit: Affine

    @property
    def side_px(self) -> float:
        return float(np.hypot(self.fit[0, 0], self.fit[1, 0]))

    @property
    def degrees(self) -> float:
        """Clockwise roll."""
        return float(np.degrees(np.arctan2(self.fit[1, 0], self.fit[0, 0])))

    def at(self, point: tuple[float, float]) -> tuple[float, float]:
        """Map a point of the template to frame pixels."""
        x, y = self.fit[:, :2] @ np.array(point, np.float32) + self.fit[:, 2]
        return float(x), float(y)

    def crop(self, frame: Frame, centre: tuple[float, float], reach: float, size: int) -> Frame:
        """Cut an upright square out of a frame.

        Args:
            frame: (height, width, 3) uint8 BGR.
            centre: In the template's unit.
            reach: Side of the square in the template's unit.
            size: Side of the crop in pixels.

        Returns:
            (size, size, 3) uint8 BGR.
        """
        scale = size / reach
        inverse = np.linalg.inv(np.vstack([self.fit, [0, 0, 1]]))[:2]
        affine = inverse * scale
        affine[:, 2] += size / 2 - np.array(centre) * scale
        return warp(frame, affine.astype(np.float32), size)


def place_of(points: Floats) -> Place:
    """Fit the template to a face.

    Args:
        points: (4, 2) float32 or more, frame pixels, in the detector's order.
    """
    return Place(fit_similarity(TEMPLATE, np.asarray(points[:4], np.float32)))


def face_at(faces: Sequence[Face], point: Floats | None) -> Face | None:
    """Return the face that lies around a point, None where none does or there is no point.

    Args:
        faces: Of one frame.
        point: (2,) float32, frame pixels. Boxes overlap: of those around it the one counts whose middle is nearest.
    """
    if point is None:
        return None

    def away(face: Face) -> float:
        return float(np.linalg.norm(face.box.reshape(2, 2).mean(axis=0) - point))

    around = [face for face in faces if (face.box[:2] <= point).all() and (point <= face.box[2:]).all()]
    return min(around, key=away, default=None)


class Follower:
    """Finds the faces of a clip's frames, given in order; looks closely where they were a frame ago.

    The first of the faces is the same one as long as it is seen; when it is lost, the largest becomes the first.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._faces: tuple[Face, ...] = ()
        self._since_look = _LOOK_EVERY
        self._empty_looks = 0

    def look(self, frame: Frame) -> tuple[Face, ...]:
        """Return the faces of the next frame, the one to be measured first; () when there is none.

        Args:
            frame: (height, width, 3) uint8 BGR.
        """
        kept = [again for face in self._faces if (again := self._near(frame, face)) is not None]
        found = _distinct(kept)
        self._since_look += 1
        if len(found) < max(len(self._faces), 1) or self._since_look >= _LOOK_EVERY:
            self._since_look = 0
            tiles = not found and self._empty_looks % _TILES_EVERY == 0
            new = self._detector.detect(frame, tiles=tiles)
            self._empty_looks = 0 if new or found else self._empty_looks + 1
            found = _distinct([*found, *sorted(new, key=lambda face: -_side(face))])
            found.sort(key=self._turn)
        self._faces = tuple(found[:_MOST_FACES])
        return self._faces

    def _turn(self, face: Face) -> int:
        """Place in the order of a frame ago; faces that came in stand behind."""
        if not self._faces:
            return 0
        overlaps = box_overlap(face.box, np.array([other.box for other in self._faces], np.float32))
        best = int(np.argmax(overlaps))
        return best if overlaps[best] > _SAME_FACE else len(self._faces)

    def _near(self, frame: Frame, face: Face) -> Face | None:
        height, width = frame.shape[:2]
        left, top, right, bottom = face.box.tolist()
        half = max(right - left, bottom - top) * _AROUND / 2
        x, y = (left + right) / 2, (top + bottom) / 2
        window = Window(
            max(int(x - half), 0), max(int(y - half), 0), min(int(x + half), width), min(int(y + half), height)
        )
        if window.is_empty:
            return None
        shift = np.array([window.left, window.top], np.float32)
        seen = [
            Face((other.box.reshape(2, 2) + shift).reshape(4), other.points + shift, other.score)
            for other in self._detector.detect(window.of(frame), tiles=False)
        ]
        overlaps = box_overlap(face.box, np.array([other.box for other in seen], np.float32).reshape(-1, 4))
        best = int(np.argmax(overlaps)) if seen else -1
        return seen[best] if seen and overlaps[best] > _SAME_FACE else None


class Steadier:
    """Takes points of one face, frame by frame, and gives their smoothed places HALF_WIDTH frames later."""

    def __init__(self) -> None:
        self._points: deque[Floats | None] = deque([None] * (2 * HALF_WIDTH + 1), maxlen=2 * HALF_WIDTH + 1)
        self._taken = 0

    def push(self, points: Floats | None) -> Iterator[Place | None]:
        """Take the next frame's points, (4, 2) float32, or None; yield the place of the frame that is settled."""
        self._points.append(points)
        self._taken += 1
        if self._taken > HALF_WIDTH:
            yield self._middle()

    def finish(self) -> Iterator[Place | None]:
        """Yield the places of the frames that are left."""
        # A clip shorter than the delay has to be brought to the middle first.
        self._points.extend([None] * max(0, HALF_WIDTH - self._taken))
        for _ in range(min(HALF_WIDTH, self._taken)):
            self._points.append(None)
            yield self._middle()

    def _middle(self) -> Place | None:
        points = list(self._points)
        middle = points[HALF_WIDTH]
        if middle is None:
            return None
        reach = 0
        while reach < HALF_WIDTH and all(
            _goes_on(points[HALF_WIDTH + side * reach], points[HALF_WIDTH + side * (reach + 1)]) for side in (-1, 1)
        ):
            reach += 1
        if (weights := _WEIGHTS.get(reach)) is None:
            return place_of(middle)
        course = np.stack([near for near in points[HALF_WIDTH - reach : HALF_WIDTH + reach + 1] if near is not None])
        return place_of(np.tensordot(weights, course, 1).astype(np.float32))


def _goes_on(here: Floats | None, there: Floats | None) -> bool:
    if here is None or there is None:
        return False
    return float(np.linalg.norm(here - there, axis=1).max()) < _CUT * place_of(here).side_px


def _side(face: Face) -> float:
    return float(face.box[2] - face.box[0])


def _distinct(faces: list[Face]) -> list[Face]:
    kept: list[Face] = []
    for face in faces:
        taken = np.array([other.box for other in kept], np.float32).reshape(-1, 4)
        if not (box_overlap(face.box, taken) > _SAME_FACE).any():
            kept.append(face)
    return kept
