"""How loud a voice is at the moment of each frame, and where it pauses. Shares nothing with the engine that listens."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

SAMPLE_RATE: Final = 16_000

_BAND_HZ: Final = (300.0, 3400.0)  # the telephone's band of speech (ITU-T G.712)
_LOUDNESS: Final = 0.6  # loudness grows with pressure to this power (Stevens 1955)
_SHORTEST_WINDOW_SECONDS: Final = 0.04
_PAUSE_BELOW_DB: Final = 30.0  # below the voice's loud moments: what is quieter is breath and room
_SILENCE_DBFS: Final = -55.0
_LOUD_PERCENTILE: Final = 95.0
_LONG_PAUSE_SECONDS: Final = 0.2
# The mouth closes a little after the voice ends and opens before it begins (articulators lead and trail by about so
# much); a frame counts as pause only when it is that far from speech.
_PAUSE_EDGE_SECONDS: Final = 0.08
_CHUNK: Final = 512  # frames at once, so that memory does not grow with the windows


class Voice(NamedTuple):
    """One value per frame of the result.

    Attributes:
        loudness: (frames,) float64, 0..1; 1 is the loudest moment.
        pauses: (frames,) bool, True well inside pauses.
        speech_seconds: How much of it is no pause or silence.
    """

    loudness: NDArray[np.float64]
    pauses: NDArray[np.bool_]
    speech_seconds: float


def listen(voice_16k: Floats, fps: Fraction, frame_count: int) -> Voice:
    """Measure a voice frame by frame.

    Args:
        voice_16k: (n,) float32, mono, -1..1, 16 kHz, beginning with the first frame; silence follows its end.
        fps: Frames per second, exact.
        frame_count: How many frames to describe.
    """
    power = np.concatenate([*_powers(voice_16k, fps, frame_count), np.zeros(0)])
    level = 10 * np.log10(power + 1e-12)
    heard = level > _SILENCE_DBFS
    loud = float(np.percentile(level[heard], _LOUD_PERCENTILE)) if heard.any() else 0.0
    spoken = heard & (level > loud - _PAUSE_BELOW_DB)
    loudness = power ** (_LOUDNESS / 2)
    top = float(loudness.max(initial=0.0))
    return Voice(
        loudness / top if top else loudness, _pauses(~spoken, float(fps)), int(np.count_nonzero(spoken)) / float(fps)
    )


def stretches(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) of each run of True in (n,) flags."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flags.view(np.int8), [0]])))
    yield from zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)


def _powers(voice_16k: Floats, fps: Fraction, frame_count: int) -> Iterator[NDArray[np.float64]]:
    """Mean power in the band of speech around the middle of each frame; a full-scale sine is 0.5."""
    size = round(max(2 / float(fps), _SHORTEST_WINDOW_SECONDS) * SAMPLE_RATE)
    window = np.hanning(size)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    band = (hertz >= _BAND_HZ[0]) & (hertz <= _BAND_HZ[1])
    gain = 2 / (size * float((window**2).sum()))
    padded = np.concatenate([np.zeros(size, np.float32), voice_16k, np.zeros(size, np.float32)])
    for start in range(0, frame_count, _CHUNK):
        frames = np.arange(start, min(start + _CHUNK, frame_count))
        begins = ((frames + 0.5) * SAMPLE_RATE / float(fps)).astype(np.int64) + size - size // 2
        # Beyond the end of the sound every window is the last, silent one.
        begins = np.minimum(begins, len(padded) - size)
        pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[begins] * window
        spectrum = np.abs(np.fft.rfft(pieces, axis=1)[:, band]) ** 2
        yield np.asarray(spectrum.sum(1) * gain, np.float64)


def _pauses(quiet: NDArray[np.bool_], fps: float) -> NDArray[np.bool_]:
    """Keep the insides of long runs."""
    kept = np.zeros_like(quiet)
    edge = int(np.ceil(_PAUSE_EDGE_SECONDS * fps))
    for start, stop in stretches(quiet):
        if stop - start >= _LONG_PAUSE_SECONDS * fps:
            # The clip's own ends are no edges: nobody spoke before it began.
            first = start + edge if start else 0
            last = stop - edge if stop < len(quiet) else stop
            kept[first:last] = True
    return kept
