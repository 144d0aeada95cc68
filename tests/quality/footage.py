"""Clips of a real face whose mouth opens as told: painted by code, by nothing that the engine has."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.align import invert, paste_back
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.media.join import join
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.quality.following import EYES_TO_MOUTH, FACE_CENTRE, FACE_HALF_AXES, Place, place_of
from tests.media.footage import write_sound, write_video

SAMPLES = Path(__file__).parents[2] / "samples"
FPS = Fraction(25)
RATE = 48_000
# A frame of the sample in which nobody speaks: lips closed, head upright.
_CLOSED = 96
_NEARLY_LOSSLESS = {"preset": "ultrafast", "crf": "6"}


def closed_face() -> Frame:
    """A frame with a face whose lips are closed, (432, 528, 3) uint8 BGR."""
    with VideoReader(SAMPLES / "target.mp4") as reader:
        return next(iter(reader.frames(_CLOSED, _CLOSED + 1))).pixels


def source_face() -> Frame:
    return np.asarray(read_image(SAMPLES / "source.jpg"), np.uint8)


def face_place(frame: Frame) -> Place:
    return place_of(face_models().detector.detect(frame)[0].points)


def opened(frame: Frame, opening: float, place: Place) -> Frame:
    """Paint a dark mouth of a height, as a share of the distance from the eyes to the mouth."""
    out = frame.copy()
    if opening > 0:
        x, y = place.at((0.0, EYES_TO_MOUTH))
        height, width = opening * EYES_TO_MOUTH * place.side_px, 0.5 * place.side_px
        left, top, reach = int(x - place.side_px / 2), int(y - place.side_px / 4), int(place.side_px)
        view = out[top : top + reach, left : left + reach]
        # Four times as large and shrunk again: the edge is as soft as a camera's.
        big = cv2.resize(view, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
        centre = (4 * (x - left), 4 * (y + height / 2 - top))
        cv2.ellipse(big, (centre, (4 * width, 4 * height), place.degrees), (30, 22, 34), -1)
        view[:] = cv2.resize(big, view.shape[1::-1], interpolation=cv2.INTER_AREA)
    return out


def with_face_of(source: Frame, target: Frame, place: Place, share: float = 1.0) -> Frame:
    """Lay a source's face over a target's as it is, in an oval, by so much."""
    size, mask = 256, np.zeros((256, 256), np.float32)
    crop = face_place(source).crop(source, FACE_CENTRE, 1.05, size)
    axes = tuple(round(axis / 1.05 * size * 1.15) for axis in FACE_HALF_AXES)
    cv2.ellipse(mask, (128, 128), axes, 0, 0, 360, (share,), -1)
    scale = size / 1.05
    affine = invert(place.fit) * scale
    affine[:, 2] += size / 2 - np.array(FACE_CENTRE) * scale
    return paste_back(target, crop, mask, affine.astype(np.float32))


def moved(frame: Frame, degrees: float, scale: float, shift: tuple[float, float]) -> Frame:
    """Turn, scale and shift a whole frame about its middle."""
    height, width = frame.shape[:2]
    affine = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    affine[:, 2] += np.array(shift, np.float64)
    return np.asarray(cv2.warpAffine(frame, affine, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8)


def syllables(frames: int, *, seed: int = 3, pauses: Iterable[tuple[int, int]] = ()) -> NDArray[np.float64]:
    """How loud somebody speaks, 0..1 per frame: irregular syllables, silent in the pauses."""
    draw = np.random.default_rng(seed)
    curve = np.zeros(frames)
    place = 1.0
    while place < frames:
        width = draw.uniform(1.2, 2.4)
        curve += draw.uniform(0.4, 1.0) * np.exp(-(((np.arange(frames) - place) / width) ** 2))
        place += draw.uniform(4.5, 9.0)
    for start, stop in pauses:
        curve[start:stop] = 0
    return np.clip(curve, 0, 1)


def spoken(loudness: NDArray[np.float64], *, seed: int = 5) -> Floats:
    """Sound whose amplitude in each frame is loudness: noise in the band of speech, (1, n) float32 at 48 kHz."""
    count = int(len(loudness) / FPS * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(hertz < 400) | (hertz > 3000)] = 0
    noise = np.fft.irfft(spectrum, count)
    middles = (np.arange(len(loudness)) + 0.5) / float(FPS)
    amplitude = np.interp(np.arange(count) / RATE, middles, loudness)
    return np.asarray((0.2 * amplitude * noise / noise.std())[None], np.float32)


def write_clip(path: Path, frames: Iterable[Frame], sound: Floats | None = None) -> Path:
    """Encode frames, with a sound under them where there is one."""
    silent = write_video(path.with_suffix(".silent.mp4"), frames, fps=FPS, options=_NEARLY_LOSSLESS)
    if sound is None:
        return silent.rename(path)
    voice = write_sound(path.with_suffix(".wav"), sound)
    with VideoReader(silent) as reader:
        seconds = reader.info.duration_seconds
    join([silent], destination=path, fps=FPS, audio_from=voice, duration_seconds=seconds)
    return path


def talking(openings: Iterable[float]) -> Iterator[Frame]:
    """A still face whose mouth opens as told."""
    frame = closed_face()
    place = face_place(frame)
    for opening in openings:
        yield opened(frame, float(opening), place)
