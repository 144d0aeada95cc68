"""The bundled samples as arrays, and measures that share no code with the engine."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats, Frame

SAMPLES = Path(__file__).parents[2] / "samples"
FPS = Fraction(30000, 1001)


def target_frames() -> list[Frame]:
    with av.open(str(SAMPLES / "target.mp4")) as container:
        return [np.asarray(frame.to_ndarray(format="bgr24"), np.uint8) for frame in container.decode(video=0)]


def source_image() -> Frame:
    image = cv2.imread(str(SAMPLES / "source.jpg"), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def voice_16k() -> Floats:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    with av.open(str(SAMPLES / "speech.wav")) as container:
        pieces = [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32)


def loudness(voice: Floats, frames: int) -> NDArray[np.float64]:
    """Root mean square of all frequencies in each frame's own time, in dB over 40 dB below the loudest."""
    edges = (np.arange(frames + 1) * 16_000 / float(FPS)).astype(int)
    power = np.array([np.mean(voice[a:b].astype(np.float64) ** 2) for a, b in pairwise(edges)])
    decibel = 10 * np.log10(power + 1e-12)
    return np.asarray(np.maximum(decibel - decibel.max() + 40, 0), np.float64)


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    return float(np.corrcoef(np.asarray(a, np.float64), np.asarray(b, np.float64))[0, 1])


def inside_mouth_share(frame: Frame, corners: Floats) -> float:
    """Part of the mouth's surroundings much darker than the skin, from pixels alone.

    Args:
        frame: BGR.
        corners: (2, 2) left and right corner of the mouth as in the footage before anything was changed.
    """
    centre, span = corners.mean(0), float(np.linalg.norm(corners[1] - corners[0]))
    half = span * 0.5
    x, y = int(centre[0]), int(centre[1])
    patch = frame[int(y - half * 0.6) : int(y + half), int(x - half * 0.7) : int(x + half * 0.7)].astype(np.float64)
    luma = patch @ [0.114, 0.587, 0.299]
    return float((luma < 0.55 * np.median(luma)).mean())
