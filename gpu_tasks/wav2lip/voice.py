"""When somebody speaks, and a voice without the steady noise around it."""

from fractions import Fraction
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats
from gpu_tasks.wav2lip.mel import SAMPLE_RATE

# Nothing quieter than this is speech, whatever the clip's own level; nor what is this far below its loud parts.
_FLOOR_DBFS: Final = -55.0
_RANGE_DB: Final = 38.0
_LOUD_PERCENTILE: Final = 95
_STEP: Final = 160
_STEP_SECONDS: Final = _STEP / SAMPLE_RATE
# A closure before p or k lasts a tenth of a second: the mouth is the network's business there.
_SHORTEST_PAUSE_SECONDS: Final = 0.30
# Lips part before they are heard and close after.
_LEAD_SECONDS: Final = 0.10
_FADE_SECONDS: Final = 0.12
_LOWEST_SPEECH_HZ: Final = 60.0

# Spectral subtraction (Boll 1979): what is there all the time is taken off, with a floor against chirping.
_WINDOW: Final = 512
_HOP: Final = 128
_NOISE_PERCENTILE: Final = 15
_OVER_SUBTRACTION: Final = 2.0
# Windows by frequencies: noise trembles, and each peak of it that is left would chirp.
_SMOOTHED_OVER: Final = (9, 3)
_LEAST_GAIN: Final = 0.05
_WINDOWS_AT_ONCE: Final = 8192
_MOST_NOISE_STRETCHES: Final = 1024


class PowerMeter:
    """Measures a sound that comes in pieces, in steps of 10 ms."""

    def __init__(self) -> None:
        self._powers: list[Floats] = []
        self._pending = np.empty(0, np.float32)

    def hear(self, piece_16k: Floats) -> None:
        """Take the next samples: (n,) float32, mono, -1..1, 16 kHz."""
        heard = np.concatenate([self._pending, piece_16k]).astype(np.float32)
        whole = len(heard) // _STEP * _STEP
        self._powers.append(np.square(heard[:whole]).reshape(-1, _STEP).mean(1))
        self._pending = heard[whole:]

    def finish(self) -> Floats:
        """Return the mean power of each step, (steps,) float32; silence fills the last one."""
        self.hear(np.zeros(-len(self._pending) % _STEP, np.float32))
        return np.concatenate(self._powers)


def speech_shares(powers: Floats, fps: Fraction, frame_count: int) -> Floats:
    """Tell for each frame whether somebody speaks.

    Args:
        powers: (steps,) float32, of the whole sound from the first frame on, as PowerMeter measures it.
        fps: Exact frame rate.
        frame_count: How many frames.

    Returns:
        (frame_count,) float32: 1 in speech, also through its short closures; 0 in pauses of 0.3 s and more; in between
        where one becomes the other. After the sound's end 0.
    """
    level = 10 * np.log10(powers + 1e-12)
    audible = level > _FLOOR_DBFS
    if not audible.any():
        return np.zeros(frame_count, np.float32)
    loud = float(np.percentile(level[audible], _LOUD_PERCENTILE))
    fade = round(_FADE_SECONDS / _STEP_SECONDS)
    steps = int(np.ceil(float(frame_count / fps) / _STEP_SECONDS)) + 1
    # After the sound's end there is silence, however long the picture lasts.
    spoken = np.zeros(max(steps, len(level)) + fade, np.bool_)
    spoken[: len(level)] = audible & (level > loud - _RANGE_DB)
    spoken = _without_short_pauses(spoken, round(_SHORTEST_PAUSE_SECONDS / _STEP_SECONDS))
    reach = round(_LEAD_SECONDS / _STEP_SECONDS)
    wide = np.convolve(spoken, np.ones(2 * reach + 1), mode="same") > 0
    shares = np.convolve(np.pad(wide.astype(np.float64), fade // 2, mode="edge"), np.ones(fade) / fade, mode="same")
    middles = ((np.arange(frame_count) + 0.5) / float(fps) / _STEP_SECONDS).astype(np.int64)
    return np.clip(shares[fade // 2 + middles], 0, 1).astype(np.float32)


def is_silent(powers: Floats) -> bool:
    """Tell whether nothing can be heard in any step."""
    return bool((10 * np.log10(powers + 1e-12) <= _FLOOR_DBFS).all())


def denoised(wave_16k: Floats) -> Floats:
    """Return a voice without what sounds all the time: fans, hum, hiss.

    Args:
        wave_16k: (n,) float32, mono, -1..1, 16 kHz.

    Returns:
        (n,) float32.
    """
    window = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)
    padded = np.pad(wave_16k, (_WINDOW, 2 * _WINDOW)).astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    noise = _noise(pieces, window)
    out = np.zeros(len(padded), np.float32)
    low = int(np.ceil(_LOWEST_SPEECH_HZ * _WINDOW / SAMPLE_RATE))
    for start in range(0, len(pieces), _WINDOWS_AT_ONCE):
        spectrum = np.fft.rfft(pieces[start : start + _WINDOWS_AT_ONCE] * window, axis=1)
        share = _OVER_SUBTRACTION * noise / np.maximum(_smoothed(spectrum), 1e-9)
        gain = np.sqrt(np.maximum(1 - np.square(share), _LEAST_GAIN**2))
        gain[:, :low] = _LEAST_GAIN
        made = (np.fft.irfft(spectrum * gain, axis=1) * window).astype(np.float32)
        for number, piece in enumerate(made, start=start):
            out[number * _HOP : number * _HOP + _WINDOW] += piece
    # Hann windows at a quarter of their length, taken twice, add up to 1.5.
    return np.asarray(out[_WINDOW : _WINDOW + len(wave_16k)] / np.float32(1.5), np.float32)


def _noise(pieces: NDArray[np.float32], window: Floats) -> NDArray[np.float64]:
    """Amplitude of what is there all the time, by frequency; of a long sound a part is looked at."""
    stretch = _SMOOTHED_OVER[0]
    step = stretch * max(1, len(pieces) // (stretch * _MOST_NOISE_STRETCHES))
    stretches = [pieces[start : start + stretch] for start in range(0, len(pieces) - stretch + 1, step)]
    audible = [piece for piece in stretches if piece.any(axis=1).all()]
    if not audible:
        return np.zeros(_WINDOW // 2 + 1)
    middle = stretch // 2
    amplitudes = [_smoothed(np.fft.rfft(piece * window, axis=1))[middle] for piece in audible]
    return np.asarray(np.percentile(amplitudes, _NOISE_PERCENTILE, axis=0), np.float64)


def _smoothed(spectrum: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Amplitudes of (windows, frequencies) averaged over their neighbours in both."""
    windows, frequencies = _SMOOTHED_OVER
    return np.asarray(cv2.blur(np.abs(spectrum), (frequencies, windows)), np.float64)


def _without_short_pauses(spoken: NDArray[np.bool_], shortest: int) -> NDArray[np.bool_]:
    """Close the gaps between spoken steps that are shorter than `shortest` steps."""
    places = np.flatnonzero(spoken)
    closed = spoken.copy()
    for before, after in pairwise(places):
        if 1 < after - before <= shortest:
            closed[before:after] = True
    return closed
