"""From a voice to mouth shapes: how far the lips part and how wide they are drawn, frame by frame.

Driven by energy and spectrum, not by phonemes: a closure for m, b or p is seen as the dip in level that it makes.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

SAMPLE_RATE: Final = 16_000

_WINDOW_SECONDS = 0.032
# Standard deviations: longer hides closures, shorter makes the lips tremble; the corners are slower than the jaw.
_OPENING_SECONDS = 0.018
_SPREAD_SECONDS = 0.045
_VOWEL_HZ = (200.0, 1200.0)  # first formants
_FRONT_HZ = (1200.0, 3000.0)  # second formants: high for spread vowels, low for round ones
_HISS_HZ = 3500.0  # fricatives: loud, but with the teeth together
_RANGE_DB = 26.0  # from a vowel at full voice down to where lips are closed
_FLOOR_DBFS = -52.0  # nothing quieter is speech, whatever the clip's own level
_SPREAD_RANGE_DB = 16.0
_REST = 0.5


@dataclass(frozen=True, slots=True)
class MouthShapes:
    """What the mouth does, one value per video frame.

    Attributes:
        opening: (frames,) float32; 0 is closed, 1 as far as this speaker opens the mouth in speech.
        spread: (frames,) float32; 0 is rounded as in "o", 0.5 at rest, 1 drawn wide as in "ee".
    """

    opening: Floats
    spread: Floats


def mouth_shapes(voice_16k: Floats, fps: Fraction, frame_count: int) -> MouthShapes:
    """Listen to a voice at the moment of each frame.

    Args:
        voice_16k: (n,) float32, mono, -1..1, 16 kHz, beginning with the first frame; silence follows its end.
        fps: Frames per second, exact.
        frame_count: How many frames to describe.

    Returns:
        Shapes of `frame_count` frames. Silence is opening 0 and spread 0.5, exactly.
    """
    vowel, front, hiss, total = _bands(voice_16k, fps, frame_count)
    level = 10 * np.log10(vowel + front + 1e-12)
    spoken = level > _FLOOR_DBFS
    if not spoken.any():
        return MouthShapes(np.zeros(frame_count, np.float32), np.full(frame_count, _REST, np.float32))
    loud = float(np.percentile(level[spoken], 90))
    floor = max(loud - _RANGE_DB, _FLOOR_DBFS)
    opening = np.clip((level - floor) / max(loud - floor, 1.0), 0, 1) ** 1.3
    opening *= 1 - 0.7 * np.clip(1.6 * hiss / (total + 1e-12), 0, 1)
    tilt = 10 * np.log10((front + 1e-12) / (vowel + 1e-12))
    voiced = level > floor
    middle = float(np.median(tilt[voiced])) if voiced.any() else 0.0
    # a consonant has no vowel colour: the lips keep to rest as far as the mouth is closed
    spread = _REST + np.clip((tilt - middle) / _SPREAD_RANGE_DB, -_REST, _REST) * np.minimum(opening * 3, 1)
    return MouthShapes(_smoothed(opening, fps, _OPENING_SECONDS, 0.0), _smoothed(spread, fps, _SPREAD_SECONDS, _REST))


def _bands(voice_16k: Floats, fps: Fraction, frame_count: int) -> tuple[NDArray[np.float64], ...]:
    """Mean power of each frame in the vowel, front and hiss bands and altogether; a full-scale sine is 0.5."""
    size = int(_WINDOW_SECONDS * SAMPLE_RATE)
    centres = ((np.arange(frame_count) + 0.5) * SAMPLE_RATE / float(fps)).astype(np.int64)
    needed = int(centres[-1]) + size if frame_count else size
    padded = np.zeros(max(needed, len(voice_16k)) + size, np.float64)
    padded[size // 2 : size // 2 + len(voice_16k)] = voice_16k
    window = np.hanning(size)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[centres] * window
    power = np.abs(np.fft.rfft(pieces, axis=1)) ** 2 * (2 / (size * float((window**2).sum())))
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)

    def band(low: float, high: float) -> NDArray[np.float64]:
        return np.asarray(power[:, (hertz >= low) & (hertz < high)].sum(1), np.float64)

    return band(*_VOWEL_HZ), band(*_FRONT_HZ), band(_HISS_HZ, np.inf), np.asarray(power.sum(1), np.float64)


def _smoothed(curve: NDArray[np.float64], fps: Fraction, seconds: float, rest: float) -> Floats:
    """Smooth without delay; what lies further than three deviations from any speech stays exactly at rest."""
    sigma = seconds * float(fps)
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    deviation = np.convolve(np.pad(curve - rest, reach), kernel / kernel.sum(), mode="valid")
    return np.clip(deviation + rest, 0, 1).astype(np.float32)
