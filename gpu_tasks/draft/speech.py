"""From a voice to mouth shapes: how far the lips part and how wide they are drawn, frame by frame.

Driven by energy and spectrum, not by phonemes: a closure for m, b or p is seen as the dip in level that it makes.
The voice is heard two hundred times a second, so that a closure between two frames is not missed.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

SAMPLE_RATE: Final = 16_000

_STEPS_PER_SECOND = 200
_WINDOW_SECONDS = 0.025
_VOWEL_HZ = (200.0, 1200.0)  # first formants
_FRONT_HZ = (1200.0, 3000.0)  # second formants: high for spread vowels, low for round ones
_HISS_HZ = 3500.0  # fricatives: loud, but with the teeth together
_ORAL_HZ = 350.0  # from here on little comes through the nose or a closed mouth; fricatives do
_RANGE_DB = 26.0  # from a vowel at full voice down to where lips are closed
_FLOOR_DBFS = -52.0  # nothing quieter is speech, whatever the clip's own level
_SPREAD_RANGE_DB = 16.0
_REST = 0.5

# A closure is a dip below what is heard shortly before as well as shortly after it: judged by the level of nasals and
# of stopped voice against vowels. From the first depth on the lips come together, at the second they touch.
_CLOSURE_SECONDS = 0.09
_CLOSURE_DB = (7.0, 14.0)
# From closed to wide open and back, where the voice sets in or ends at once: a jaw has mass, and falls more slowly
# than it is pulled.
_ATTACK_SECONDS, _RELEASE_SECONDS = 0.05, 0.075
# Standard deviations: longer hides closures, shorter makes the lips tremble; the corners are slower than the jaw.
_OPENING_SECONDS = 0.015
_SPREAD_SECONDS = 0.045
_DEVIATIONS = 2.5  # further away nothing is counted, so that rest is exact
# Of a frame: what is shorter is not shown by frames, but would make them differ by chance.
_SHORTEST_SHOWN = 0.35
_PIECES_AT_ONCE = 4096

_Curve: TypeAlias = NDArray[np.float64]


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
    middles = np.asarray((np.arange(frame_count) + 0.5) / float(fps), np.float64)
    seconds = frame_count / float(fps) + _RELEASE_SECONDS + _SPREAD_SECONDS * _DEVIATIONS
    heard = _bands(voice_16k, int(seconds * _STEPS_PER_SECOND) + 1)
    level = _decibel(heard.vowel + heard.front)
    spoken = level > _FLOOR_DBFS
    if not spoken.any():
        return MouthShapes(np.zeros(frame_count, np.float32), np.full(frame_count, _REST, np.float32))
    loud = float(np.percentile(level[spoken], 90))
    floor = max(loud - _RANGE_DB, _FLOOR_DBFS)
    opening = np.clip((level - floor) / max(loud - floor, 1.0), 0, 1) ** 1.3
    opening *= 1 - 0.7 * np.clip(1.6 * heard.hiss / (heard.total + 1e-12), 0, 1)
    tilt = _decibel(heard.front) - _decibel(heard.vowel)
    voiced = level > floor
    middle = float(np.median(tilt[voiced])) if voiced.any() else 0.0
    # a consonant has no vowel colour: the lips keep to rest as far as the mouth is closed
    spread = _REST + np.clip((tilt - middle) / _SPREAD_RANGE_DB, -_REST, _REST) * np.minimum(opening * 3, 1)
    # Closures come last: the jaw's inertia would fill them in, lips are quicker.
    opening = _with_inertia(opening) * (1 - _lasting(_closures(_decibel(heard.oral), floor), 1 / float(fps)))
    shortest = _SHORTEST_SHOWN / float(fps)
    return MouthShapes(
        _at(middles, _smoothed(opening, max(_OPENING_SECONDS, shortest), 0.0)),
        _at(middles, _smoothed(spread, max(_SPREAD_SECONDS, shortest), _REST)),
    )


class _Heard(NamedTuple):
    """Mean power by band, one value per step; a full-scale sine is 0.5."""

    vowel: _Curve
    front: _Curve
    hiss: _Curve
    oral: _Curve
    total: _Curve


def _bands(voice_16k: Floats, steps: int) -> _Heard:
    size, hop = int(_WINDOW_SECONDS * SAMPLE_RATE), SAMPLE_RATE // _STEPS_PER_SECOND
    padded = np.zeros(max(steps * hop, len(voice_16k)) + size, np.float32)
    padded[size // 2 : size // 2 + len(voice_16k)] = voice_16k
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[: steps * hop : hop]
    window = np.hanning(size)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    limits = (_VOWEL_HZ, _FRONT_HZ, (_HISS_HZ, np.inf), (_ORAL_HZ, np.inf), (0.0, np.inf))
    which = np.array([(hertz >= low) & (hertz < high) for low, high in limits], np.float64).T
    power = np.empty((steps, len(limits)))
    # Spectra are dropped piece by piece: those of ten minutes would take half a gigabyte.
    for first in range(0, steps, _PIECES_AT_ONCE):
        part = slice(first, first + _PIECES_AT_ONCE)
        power[part] = np.abs(np.fft.rfft(pieces[part] * window, axis=1)) ** 2 @ which
    power *= 2 / (size * float((window**2).sum()))
    return _Heard(*power.T)


def _closures(level: _Curve, floor: float) -> _Curve:
    """Tell how far a dip of the level closes the lips, 0 to 1, at each step."""
    reach = round(_CLOSURE_SECONDS * _STEPS_PER_SECOND)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(level, reach, constant_values=floor), reach + 1)
    # What is heard up to a step, and from it on.
    before, after = around[: len(level)].max(1), around[reach:].max(1)
    depth = np.minimum(before, after) - np.maximum(level, floor)
    return np.asarray(np.clip((depth - _CLOSURE_DB[0]) / (_CLOSURE_DB[1] - _CLOSURE_DB[0]), 0, 1), np.float64)


def _lasting(curve: _Curve, seconds: float) -> _Curve:
    """Let each peak last so long that the middle of some frame falls into it."""
    half = max(1, round(seconds * _STEPS_PER_SECOND / 2))
    return np.asarray(np.lib.stride_tricks.sliding_window_view(np.pad(curve, half), 2 * half + 1).max(1))


def _with_inertia(opening: _Curve) -> _Curve:
    """Open no faster than a jaw does, and so begin earlier; close no faster, and so end later."""
    steps = np.arange(len(opening))
    falling = steps / (_RELEASE_SECONDS * _STEPS_PER_SECOND)
    rising = steps[::-1] / (_ATTACK_SECONDS * _STEPS_PER_SECOND)
    after = np.maximum.accumulate(opening + falling) - falling
    before = (np.maximum.accumulate((opening + rising)[::-1]) - rising[::-1])[::-1]
    slow = np.maximum(before, after)
    return np.asarray(np.where(slow > 1e-6, slow, 0.0))  # noqa: PLR2004  # what rounding leaves of nothing


def _smoothed(curve: _Curve, seconds: float, rest: float) -> _Curve:
    """Smooth without delay; what lies further away from any speech than the smoothing reaches stays exactly at rest."""
    sigma = seconds * _STEPS_PER_SECOND
    reach = max(1, round(_DEVIATIONS * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    deviation = np.convolve(np.pad(curve - rest, reach), kernel / kernel.sum(), mode="valid")
    return np.asarray(np.clip(deviation + rest, 0, 1), np.float64)


def _at(seconds: _Curve, curve: _Curve) -> Floats:
    return np.interp(seconds * _STEPS_PER_SECOND, np.arange(len(curve)), curve).astype(np.float32)


def _decibel(power: _Curve) -> _Curve:
    return 10 * np.log10(power + 1e-12)
