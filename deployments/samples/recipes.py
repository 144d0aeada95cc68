"""The frames of the extra samples, calculated from the bundled ones. Equal inputs give equal frames."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np

from deployments.samples.turning import turned
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image

_PORTRAIT_WIDTH: Final = 244
_GAP: Final = range(30, 60)
_GAP_FRAMES: Final = 90
# Left, top, width and height of a part of the car that the driver never moves into.
_WINDOW: Final = (0, 40, 110, 90)
_TURN_FRAMES: Final = 90
_TURN_DEGREES: Final = 75.0
_LONG_SECONDS: Final = 60
_UHD: Final = (3840, 2160)
_UHD_FRAMES: Final = 60
# Of the light there was, and the noise of a sensor at its limit in steps of 255.
_LIGHT_LEFT: Final = 0.06
_NOISE: Final = 3.5
_GAMMA: Final = 2.2


class Originals(NamedTuple):
    """The bundled samples."""

    target: Path
    source: Path

    @classmethod
    def of(cls, folder: Path) -> "Originals":
        """Name the samples in a folder."""
        return cls(folder / "target.mp4", folder / "source.jpg")


Recipe: TypeAlias = Callable[[Originals], Iterator[Frame]]


def portrait(originals: Originals) -> Iterator[Frame]:
    """Cut upright frames, to be stored lying on their side."""
    for frame in _driver(originals):
        left = (frame.shape[1] - _PORTRAIT_WIDTH) // 2
        yield frame[:, left : left + _PORTRAIT_WIDTH]


def two_faces(originals: Originals) -> Iterator[Frame]:
    """Put the driver on the left, and the source's portrait, gently swaying, on the right."""
    picture = read_image(originals.source)
    for index, frame in enumerate(_driver(originals)):
        yield np.hstack([frame, _swaying(picture, frame.shape[0], index)])


def gap(originals: Originals) -> Iterator[Frame]:
    """Cut to the empty car for a second, and back."""
    left, top, width, height = _WINDOW
    for index, frame in enumerate(islice(_driver(originals), _GAP_FRAMES)):
        view = frame[top : top + height, left : left + width]
        yield _resized(view, (frame.shape[1], frame.shape[0])) if index in _GAP else frame


def profile(originals: Originals) -> Iterator[Frame]:
    """Turn the driver's head to profile and back, by calculation."""
    tracker = face_models().new_tracker()
    last: Floats | None = None
    for index, frame in enumerate(islice(_driver(originals), _TURN_FRAMES)):
        # Turned there in the first third, held, turned back in the last.
        away = min(1.0, 3 * (0.5 - abs(index / (_TURN_FRAMES - 1) - 0.5)))
        faces = tracker.track(frame)
        last = faces[0].mesh_468 if faces else last
        yield frame if last is None else turned(frame, last, _TURN_DEGREES * away * away * (3 - 2 * away))


def minute(originals: Originals) -> Iterator[Frame]:
    """Play the target there and back again for sixty seconds."""
    with VideoReader(originals.target) as reader:
        frames = [frame.pixels for frame in reader]
        count = round(_LONG_SECONDS * reader.info.fps)
    course: Sequence[Frame] = [*frames, *frames[-2:0:-1]]
    yield from (course[index % len(course)] for index in range(count))


def uhd(originals: Originals) -> Iterator[Frame]:
    """Enlarge the middle of the target to 4 K: the size of the camera, not its detail."""
    for frame in islice(_driver(originals), _UHD_FRAMES):
        height = frame.shape[1] * _UHD[1] // _UHD[0]
        top = (frame.shape[0] - height) // 2
        yield _resized(frame[top : top + height], _UHD)


def low_light(originals: Originals) -> Iterator[Frame]:
    """Take most of the light away and add a sensor's noise."""
    dimmed = (np.arange(256) / 255) ** _GAMMA * _LIGHT_LEFT
    table = (dimmed ** (1 / _GAMMA) * 255).astype(np.float32)
    noise = np.random.default_rng(20)
    for frame in _driver(originals):
        grain = noise.standard_normal(frame.shape, np.float32) * np.float32(_NOISE)
        yield np.asarray(np.clip(np.rint(table[frame] + grain), 0, 255), np.uint8)


def _driver(originals: Originals) -> Iterator[Frame]:
    with VideoReader(originals.target) as reader:
        for frame in reader:
            yield frame.pixels


def _swaying(picture: Frame, height: int, index: int) -> Frame:
    scale = height / picture.shape[0]
    width = round(picture.shape[1] * scale) // 2 * 2
    middle = (picture.shape[1] / 2, picture.shape[0] / 2)
    to_frame = cv2.getRotationMatrix2D(middle, 4 * np.sin(index / 11), scale)
    to_frame[:, 2] += np.array([width, height]) / 2 - middle + np.array([6 * np.sin(index / 17), 3 * np.sin(index / 9)])
    return np.asarray(
        cv2.warpAffine(picture, to_frame, (width, height), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT),
        np.uint8,
    )


def _resized(frame: Frame, size: tuple[int, int]) -> Frame:
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
