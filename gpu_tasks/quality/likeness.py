"""Whose face it is: how far a result's face has gone from the target's looks to the source's."""

from collections.abc import Sequence
from typing import Final, Protocol

import cv2
import numpy as np

from gpu_tasks.contract.quality import Identity
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.quality.following import FACE_CENTRE, FACE_HALF_AXES, Place

CROP_PX: Final = 96
CROP_REACH: Final = 1.05  # sides of the detector's box
_CELLS: Final = 12
_ORIENTATIONS: Final = 8
_FINE_PX: Final = 1.0
_LOCAL_PX: Final = 12.0
_LEAST_CONTRAST: Final = 3.0


class Embedder(Protocol):
    """Turns a face into a vector whose direction is who it is."""

    name: str

    def embed(self, frame: Frame, place: Place) -> Floats:
        """Return a unit vector, (n,) float32.

        Args:
            frame: (height, width, 3) uint8 BGR.
            place: Where the face is in it.
        """
        ...


class Gradients:
    """Where the edges of a face lie and how they run: brows, nose, lips, folds, outline. Needs no weights.

    Orientation histograms (Dalal and Triggs 2005) over 12x12 cells of an aligned crop, with brightness and contrast of
    each surrounding taken out: every swapper keeps the target's light. It tells two given faces in like pose apart; it
    does not recognise a person, and a smile counts as much as a nose.
    """

    name = "gradients"

    def __init__(self) -> None:
        self._oval = _oval()

    def embed(self, frame: Frame, place: Place) -> Floats:
        grey = np.asarray(cv2.cvtColor(face_crop(frame, place), cv2.COLOR_BGR2GRAY), np.float32)
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), _FINE_PX), np.float32)
        mean = cv2.GaussianBlur(grey, (0, 0), _LOCAL_PX)
        contrast = np.sqrt(cv2.GaussianBlur((grey - mean) ** 2, (0, 0), _LOCAL_PX)) + _LEAST_CONTRAST
        local = (grey - mean) / contrast
        across, down = cv2.Sobel(local, cv2.CV_32F, 1, 0), cv2.Sobel(local, cv2.CV_32F, 0, 1)
        strength = np.hypot(across, down) * self._oval
        # An edge has no sign: hair may be lighter or darker than skin.
        course = np.mod(np.arctan2(down, across), np.pi) / np.pi * _ORIENTATIONS
        cells = []
        for orientation in range(_ORIENTATIONS):
            away = np.abs((course - orientation + _ORIENTATIONS / 2) % _ORIENTATIONS - _ORIENTATIONS / 2)
            share = np.asarray(np.maximum(0, 1 - away) * strength, np.float32)
            cells.append(cv2.resize(share, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA).ravel())
        vector = np.sqrt(np.concatenate(cells))
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)


class LikenessMeter:
    """Sums over frames how the result's face stands between the target's and each source's.

    Of several faces in a frame it is the one that has gone furthest to the source: which were to be changed, and which
    of them by which source, cannot be seen, and whoever speaks need not be among them.

    Args:
        embedder: What is compared.
        sources: (n,) float32 unit vector of each source.
    """

    def __init__(self, embedder: Embedder, sources: Sequence[Floats]) -> None:
        self._embedder = embedder
        self._sources = sources
        self._sums = np.zeros((len(sources), 4))
        self._frames = 0

    def look(self, result: Frame, target: Frame, places: Sequence[Place]) -> None:
        """Take a frame of both, (height, width, 3) uint8 BGR, with at least one face, at one place in both."""
        pairs = [(self._embedder.embed(result, place), self._embedder.embed(target, place)) for place in places]
        for number, source in enumerate(self._sources):
            self._sums[number] += max(_way(now, was, source) for now, was in pairs)
        self._frames += 1

    def figures(self) -> Identity | None:
        """Return the figures for the source that the result is nearest to; None when nothing was compared."""
        if not self._frames or not len(self._sources):
            return None
        means = self._sums / self._frames
        nearest = int(np.argmin(means[:, 1]))
        gone, to_source, to_target, apart = (round(float(value), 3) for value in means[nearest])
        return Identity(
            measure=self._embedder.name,
            toward_source=gone,
            to_source=to_source,
            to_target=to_target,
            target_to_source=apart,
            source=nearest,
        )


def face_crop(frame: Frame, place: Place) -> Frame:
    """Return the aligned face, (96, 96, 3) uint8 BGR."""
    return place.crop(frame, FACE_CENTRE, CROP_REACH, CROP_PX)


def _way(now: Floats, was: Floats, source: Floats) -> tuple[float, float, float, float]:
    """How far a face has gone to the source; how far it is from source and target, and they from one another."""
    way = source - was
    length = max(float(np.linalg.norm(way)), 1e-6)
    gone = float((now - was) @ way) / length**2
    return gone, float(np.linalg.norm(now - source)), float(np.linalg.norm(now - was)), length


def _oval() -> Floats:
    rows, columns = (np.mgrid[0:CROP_PX, 0:CROP_PX] + 0.5) / CROP_PX - 0.5
    across, down = (axis / CROP_REACH for axis in FACE_HALF_AXES)
    return np.asarray((columns / across) ** 2 + (rows / down) ** 2 < 1, np.float32)
