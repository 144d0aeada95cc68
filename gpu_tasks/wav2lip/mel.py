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
# At either end the sound is mirrored, so that the first column is centred on the first sample.
_MIRRORED: Final = _WINDOW // 2
# A long sound at once would take gigabytes: this many columns take 3 MB.
_COLUMNS_AT_ONCE: Final = 512


def mel_spectrogram(wave_16k: Floats) -> Floats:
    """Return the spectrogram of a whole sound. It must be the whole one also for a segment: borders are reflected.

    Args:
        wave_16k: (n,) float32, mono, -1..1, 16 kHz, at least one sample; no NaN.

    Returns:
        (80, 1 + n // 200) float32, -4..4; column k is centred on sample 200 k.
    """
    recorder = MelRecorder()
    recorder.hear(wave_16k)
    return recorder.finish()


class MelRecorder:
    """Makes the spectrogram of a sound that comes in pieces, without ever holding all of it."""

    def __init__(self) -> None:
        self._columns: list[Floats] = []
        # Emphasised samples from the first one that the next column needs, mirrored start included once it is known.
        self._pending = np.empty(0, np.float32)
        self._is_mirrored = False
        self._before = np.float32(0)

    def hear(self, piece_16k: Floats) -> None:
        """Take the next samples: (n,) float32, mono, -1..1, 16 kHz; no NaN."""
        if not len(piece_16k):
            return
        late = np.concatenate([[self._before], piece_16k[:-1]]).astype(np.float32)
        emphasised = np.asarray(piece_16k, np.float32) - np.float32(_PRE_EMPHASIS) * late
        self._before = np.float32(piece_16k[-1])
        self._pending = np.concatenate([self._pending, emphasised])
        if not self._is_mirrored and len(self._pending) > _MIRRORED:
            self._pending = np.concatenate([self._pending[_MIRRORED:0:-1], self._pending])
            self._is_mirrored = True
        # Many columns at a time: one after the other would cost as much in calls as in sums.
        if self._is_mirrored and len(self._pending) >= _WINDOW + _COLUMNS_AT_ONCE * _HOP:
            self._compute()

    def finish(self) -> Floats:
        """Return the (80, 1 + n // 200) spectrogram of all n samples, at least one."""
        if self._is_mirrored:
            # After each column at least 600 samples are left, of which 400 are mirrored.
            self._pending = np.concatenate([self._pending, self._pending[-2 : -2 - _MIRRORED : -1]])
        else:
            self._pending = np.pad(self._pending, _MIRRORED, mode="reflect")
        self._compute()
        return np.concatenate(self._columns, axis=1)

    def _compute(self) -> None:
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, _WINDOW)[::_HOP]
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
        for start in range(0, len(windows), _COLUMNS_AT_ONCE):
            amplitudes = np.abs(np.fft.rfft(windows[start : start + _COLUMNS_AT_ONCE] * hann, axis=1)).T
            decibel = 20 * np.log10(np.maximum(_QUIETEST, _filters() @ amplitudes)) - _REFERENCE_DB
            levels = np.clip(-SILENCE * (2 * (decibel + _RANGE_DB) / _RANGE_DB - 1), SILENCE, -SILENCE)
            self._columns.append(levels.astype(np.float32))
        self._pending = self._pending[len(windows) * _HOP :].copy()


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
