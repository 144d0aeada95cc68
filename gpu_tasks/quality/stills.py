"""Frames of a result and its target as small pictures that a page carries inside itself."""

import base64
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np

from gpu_tasks.contract.jobs import Segment
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.detector import FaceDetector
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.quality.aperture import mouth_window
from gpu_tasks.quality.following import place_of
from gpu_tasks.quality.looking import Played

_HEIGHT_PX: Final = 240
_MOUTH_PX: Final = 120
_JPEG_QUALITY: Final = 82


class Still(NamedTuple):
    """One moment as `data:` addresses; None where there is no target, or no face in the result."""

    frame: int
    result: str
    target: str | None
    mouth: str | None
    own_mouth: str | None


def stills(result: Path, played: Played | None, detector: FaceDetector, frames: Iterable[int]) -> dict[int, Still]:
    """Fetch frames by number.

    Raises:
        MediaError: As VideoReader does.
    """
    found = {}
    with VideoReader(result) as reader:
        for index in sorted(set(frames)):
            pixels = next(iter(reader.frames(index, index + 1))).pixels
            target = None if played is None else _shown(played, index)
            faces = detector.detect(pixels)
            place = place_of(faces[0].points) if faces else None
            found[index] = Still(
                index,
                _address(pixels, _HEIGHT_PX),
                None if target is None else _address(target, _HEIGHT_PX),
                None if place is None else _address(mouth_window(pixels, place), _MOUTH_PX),
                None if place is None or target is None else _address(mouth_window(target, place), _MOUTH_PX),
            )
    return found


def _shown(played: Played, index: int) -> Frame:
    piece = Segment(start_frame=index, stop_frame=index + 1)
    with closing(frames_on_timeline(played.path, played.timeline, piece)) as frames:  # type: ignore[type-var]  # a generator
        return next(iter(frames))[1]


def _address(pixels: Frame, height_px: int) -> str:
    width_px = max(1, round(pixels.shape[1] * height_px / pixels.shape[0]))
    shrinks = height_px < pixels.shape[0]
    scaled = cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    _, content = cv2.imencode(".jpg", np.asarray(scaled, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(content.tobytes()).decode("ascii")
