"""What Wav2Lip hears: the mel spectrogram that its network was trained on, without the library it was made with.

The recipe (Wav2Lip's published hyperparameters): 16 kHz, pre-emphasis 0.97, Hann window of 800, a column every 200,
80 mels from 55 to 7600 Hz on Slaney's scale with Slaney's areas, amplitudes in dB with -100 as the floor after
20 is taken off, symmetric -4 to 4. Another recipe costs sync: one with HTK mels differs by 0.66 on average (measured).
"""

from fractions import Fraction
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

SAMPLE_RATE: Final = 16_000
MELS: Final = 80
CHUNK_COLUMNS: Final = 16
SILENCE: Final = -4.0

_WINDOW: Final = 800
_HOP: Final = 200
_COLUMNS_PER_SECOND: Final = SAMPLE_RATE // _HOP
_PRE_EMPHASIS: Final = 0.97
_LOWEST_HZ, _HIGHEST_HZ = 55.0, 7600.0
_QUIETEST: Final = 1e-5  # -100 dB
_REFERENCE_DB: Final = 20.0
_RANGE_DB: Final = 100.0
# Slaney's mel scale (Auditory Toolbox, 1998): straight up to 1 kHz, then 27 steps for a factor of 6.4.
_HZ_PER_MEL: Final = 200 / 3
_BREAK_HZ, _BREAK_MEL = 1000.0, 15.0
_LOG_STEP: Final = np.log(6.4) / 27
# A long sound at once would take gigabytes: this many columns take 26 MB.
_COLUMNS_AT_ONCE: Final = 4096


def mel_spectrogram(wave_16k: Floats) -> Floats:
    """Return the spectrogram of a whole sound. It must be the whole one also for a segment: borders are reflected.

    Args:
        wave_16k: (n,) float32, mono, -1..1, 16 kHz, at least one sample; no NaN.

    Returns:
        (80, 1 + n // 200) float32, -4..4; column k is centred on sample 200 k.
    """
    emphasised = np.asarray(wave_16k, np.float32).copy()
    emphasised[1:] -= np.float32(_PRE_EMPHASIS) * np.asarray(wave_16k[:-1], np.float32)
    padded = np.pad(emphasised, _WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    mel = np.empty((MELS, len(windows)), np.float32)
    for start in range(0, len(windows), _COLUMNS_AT_ONCE):
        part = slice(start, start + _COLUMNS_AT_ONCE)
        amplitudes = np.abs(np.fft.rfft(windows[part] * hann, axis=1)).T
        decibel = 20 * np.log10(np.maximum(_QUIETEST, _filters() @ amplitudes)) - _REFERENCE_DB
        mel[:, part] = np.clip(-SILENCE * (2 * (decibel + _RANGE_DB) / _RANGE_DB - 1), SILENCE, -SILENCE)
    return mel


def chunk_starts(column_count: int, fps: Fraction) -> NDArray[np.int64]:
    """Return the first column of each frame's chunk of a sound, as many frames as the sound has chunks.

    Args:
        column_count: T of the spectrogram, at least 16.
        fps: Exact frame rate.

    Returns:
        (frames,) int64; a chunk is 16 columns wide, the last one is the final 16.
    """
    last = column_count - CHUNK_COLUMNS
    per_frame = _COLUMNS_PER_SECOND / fps
    inside = int(last / per_frame) + 1
    starts = [int(index * per_frame) for index in range(inside)]
    return np.array([*starts, last], np.int64)


class Chunks:
    """What is heard at each frame of a timeline, also where the sound is over.

    Args:
        mel: (80, T) float32, the whole sound.
        fps: Exact frame rate of the timeline.
        shift: Frames of the 25 a second that the network was trained at, by which it hears later than it shows. It
            was trained with one frame less than the published inference uses: -1 brings it back.
    """

    _TRAINED_FPS: Final = 25

    def __init__(self, mel: Floats, fps: Fraction, shift: Fraction = Fraction(0)) -> None:
        self._mel = mel
        self._per_frame = _COLUMNS_PER_SECOND / fps
        self._shift = shift * _COLUMNS_PER_SECOND / self._TRAINED_FPS

    def at(self, index: int) -> Floats:
        """Return the (80, 16) float32 chunk of frame `index`; what lies outside the sound is silence."""
        start = int(max(index * self._per_frame + self._shift, Fraction(0)))
        heard = self._mel[:, start : start + CHUNK_COLUMNS]
        if heard.shape[1] == CHUNK_COLUMNS:
            return heard
        chunk = np.full((MELS, CHUNK_COLUMNS), SILENCE, np.float32)
        chunk[:, : heard.shape[1]] = heard
        return chunk


@cache
def _filters() -> NDArray[np.float64]:
    """(80, 401) triangles, each of area 2 / its width in Hz."""
    hertz = np.linspace(0, SAMPLE_RATE / 2, _WINDOW // 2 + 1)
    low, high = _mel_of(_LOWEST_HZ), _mel_of(_HIGHEST_HZ)
    corners = np.array([_hertz_of(mel) for mel in np.linspace(low, high, MELS + 2)])
    steps = np.diff(corners)
    rising = (hertz - corners[:-2, None]) / steps[:-1, None]
    falling = (corners[2:, None] - hertz) / steps[1:, None]
    areas = 2 / (corners[2:] - corners[:-2])
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * areas[:, None], np.float64)


def _mel_of(hertz: float) -> float:
    return hertz / _HZ_PER_MEL if hertz < _BREAK_HZ else _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) / _LOG_STEP


def _hertz_of(mel: float) -> float:
    return mel * _HZ_PER_MEL if mel < _BREAK_MEL else _BREAK_HZ * float(np.exp(_LOG_STEP * (mel - _BREAK_MEL)))
