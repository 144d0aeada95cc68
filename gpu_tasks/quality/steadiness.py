"""Flicker of a face, and what has changed far from it."""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.quality import Flicker, Outside
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.quality.following import FACE_CENTRE, FACE_HALF_AXES, TEMPLATE, TOUCHED_HALF_AXES, Place
from gpu_tasks.quality.likeness import CROP_PX, CROP_REACH, face_crop

NO_DIFFERENCE_DB: Final = 99.0
# Decoding rounds to whole numbers: what flickers less than this cannot be told from nothing.
_ROUNDING: Final = 0.3
_CUT: Final = 8.0  # times the median: a cut or the target starting anew, in which everything changes
_MOUTH_HALF_AXES: Final = (0.24, 0.2)
_LEAST_OUTSIDE: Final = 0.05  # of the frame: less around a face says nothing
_DEPTH: Final = 255.0


class FlickerMeter:
    """Takes the aligned faces of consecutive frames and measures what changes back and forth.

    Of three frames the middle one is compared with the mean of the others, so that steady motion and slow change of
    light cancel. The mouth is left out: it is meant to move.
    """

    def __init__(self) -> None:
        self._faces: deque[tuple[int, tuple[Floats, ...]]] = deque(maxlen=3)
        self._region = _skin()
        self._energies: dict[int, tuple[float, ...]] = {}

    def look(self, index: int, frames: Sequence[Frame], place: Place) -> None:
        """Take a frame of the result, and of the target where there is one, (height, width, 3) uint8 BGR."""
        self._faces.append(
            (
                index,
                tuple(
                    np.asarray(cv2.cvtColor(face_crop(frame, place), cv2.COLOR_BGR2GRAY), np.float32)
                    for frame in frames
                ),
            )
        )
        if len(self._faces) < 3 or self._faces[0][0] != index - 2:  # noqa: PLR2004  # three in a row
            return
        (_, before), (middle, at), (_, after) = self._faces
        self._energies[middle] = tuple(
            float((((b + d) / 2 - c)[self._region] ** 2).mean()) for b, c, d in zip(before, at, after, strict=True)
        )

    def by_frame(self) -> dict[int, tuple[float, ...]]:
        """Root mean square in grey levels, of the result and the target, without cuts."""
        if not self._energies:
            return {}
        # The target says where a cut is, for both alike.
        steadiest = np.array([energies[-1] for energies in self._energies.values()])
        limit = _CUT * max(float(np.median(steadiest)), _ROUNDING**2)
        return {
            index: tuple(float(np.sqrt(energy)) for energy in energies)
            for index, energies in self._energies.items()
            if energies[-1] <= limit or len(energies) == 1
        }

    def figures(self) -> Flicker | None:
        by_frame = self.by_frame()
        if not by_frame:
            return None
        levels = np.array(list(by_frame.values()))
        result, *target = np.median(levels, axis=0).tolist()
        if not target:
            return Flicker(result=round(result, 3), target=None, ratio=None)
        ratio = float(np.mean(flicker_ratio(levels[:, 0], levels[:, 1])))
        return Flicker(result=round(result, 3), target=round(target[0], 3), ratio=round(ratio, 3))


def flicker_ratio(result: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide levels of flicker, both (frames,) in grey levels; a target that stands still counts as rounding."""
    return np.asarray(np.hypot(result, _ROUNDING) / np.hypot(target, _ROUNDING), np.float64)


class _Difference(NamedTuple):
    squares: float
    values: int


class OutsideMeter:
    """Compares what lies far from every face with the target."""

    def __init__(self) -> None:
        self._differences: dict[int, _Difference] = {}

    def look(self, index: int, result: Frame, target: Frame, places: Sequence[Place]) -> None:
        """Take a frame of both, (height, width, 3) uint8 BGR, of equal size, and all faces in it."""
        mask = outside_mask(result.shape[:2], places)
        count = cv2.countNonZero(mask)
        if count >= _LEAST_OUTSIDE * mask.size:
            self._differences[index] = _Difference(cv2.norm(result, target, cv2.NORM_L2SQR, mask), 3 * count)

    def by_frame(self) -> dict[int, float]:
        """PSNR in dB."""
        return {index: _psnr(difference) for index, difference in self._differences.items()}

    def figures(self) -> Outside | None:
        if not self._differences:
            return None
        by_frame = self.by_frame()
        worst = min(by_frame, key=by_frame.__getitem__)
        squares, values = (sum(column) for column in zip(*self._differences.values(), strict=True))
        return Outside(
            psnr_db=round(_psnr(_Difference(squares, int(values))), 2),
            worst_psnr_db=round(by_frame[worst], 2),
            worst_frame=worst,
        )


def outside_mask(shape: tuple[int, ...], places: Sequence[Place]) -> NDArray[np.uint8]:
    """Return (height, width) uint8, 0 over faces with hair, jaw and neck, 255 elsewhere."""
    mask = np.full(shape[:2], 255, np.uint8)
    for place in places:
        x, y = place.at(FACE_CENTRE)
        across, down = (axis * place.side_px for axis in TOUCHED_HALF_AXES)
        cv2.ellipse(mask, ((x, y), (2 * across, 2 * down), place.degrees), (0,), -1)
    return mask


def _psnr(difference: _Difference) -> float:
    mean = difference.squares / difference.values
    return NO_DIFFERENCE_DB if mean <= 0 else min(NO_DIFFERENCE_DB, float(10 * np.log10(_DEPTH**2 / mean)))


def _skin() -> NDArray[np.bool_]:
    rows, columns = ((np.mgrid[0:CROP_PX, 0:CROP_PX] + 0.5) / CROP_PX - 0.5) * CROP_REACH
    face = (columns / FACE_HALF_AXES[0]) ** 2 + (rows / FACE_HALF_AXES[1]) ** 2 < 1
    below = rows - (float(TEMPLATE[3, 1]) - FACE_CENTRE[1])
    mouth = (columns / _MOUTH_HALF_AXES[0]) ** 2 + (below / _MOUTH_HALF_AXES[1]) ** 2 < 1
    return np.asarray(face & ~mouth, np.bool_)
