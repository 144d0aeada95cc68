"""Whether a mouth goes with a voice: correlation at every lag, and the same with the voice shuffled as control."""

from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.quality import LipSync
from gpu_tasks.quality.voice import Voice

Curve = NDArray[np.float64]

SHUFFLES: Final = 100
_SEED: Final = 20_210
_BLOCK_SECONDS: Final = 0.5  # about two words: the rhythm within stays, the order does not
_SEARCH_SECONDS: Final = 0.5
_LEAST_SPEECH_SECONDS: Final = 1.0
_LEAST_BLOCKS: Final = 4
_LEAST_FRAMES: Final = 24
_STILL: Final = 1e-6  # spread below which a curve has no shape
_LEAST_FIT: Final = 0.3  # a half of the clip whose mouth fits less well has no lag worth comparing
_MAX_PERCENTILE: Final = 98.0
_MIN_PERCENTILE: Final = 5.0
# Of the distance from eyes to mouth: a pixel in a face of 100. What opens less does not speak; it trembles.
_LEAST_MOTION: Final = 0.02


class Agreement(NamedTuple):
    """The figures, and the curves behind them.

    Attributes:
        figures: As they are reported.
        lags_ms: (lags,) positive where the mouth is later than the voice.
        by_lag: (lags,) correlation.
        control_by_lag: (lags,) mean over the shuffled voices.
        control_band: (2, lags) their 5th and 95th percentile.
    """

    figures: LipSync
    lags_ms: Curve
    by_lag: Curve
    control_by_lag: Curve
    control_band: Curve


def agree(
    opening: Curve, voice: Voice, fps: Fraction, *, own_opening: Curve | None = None, shuffles: int = SHUFFLES
) -> Agreement | None:
    """Compare a mouth with a voice.

    Args:
        opening: (frames,) of the whole result; NaN where it was not measured.
        voice: Of the same frames.
        fps: Frames per second.
        own_opening: The target's own mouth, likewise.
        shuffles: How many shuffled voices stand against it. Which ones is always the same.

    Returns:
        None where there is too little speech (a second) or too little mouth (24 frames) to say anything.
    """
    count = int(np.isfinite(opening).sum())
    if voice.speech_seconds < _LEAST_SPEECH_SECONDS or count < _LEAST_FRAMES or np.ptp(voice.loudness) < _STILL:
        return None
    top = float(np.nanpercentile(opening, _MAX_PERCENTILE))
    paused = opening[voice.pauses & np.isfinite(opening)]
    opening = _stilled(opening)
    reach = max(1, int(_SEARCH_SECONDS * fps))
    lags = np.arange(-reach, reach + 1)
    by_lag = correlations(opening, voice.loudness[None], lags)[0]
    best = int(np.argmax(by_lag))
    shuffled = _shuffled(voice.loudness, fps, shuffles)
    control = correlations(opening, shuffled, lags) if len(shuffled) else np.zeros((1, len(lags)))
    reached = control.max(1)
    half = len(opening) // 2
    lag_ms = 1000 / float(fps)
    figures = LipSync(
        correlation=_rounded(by_lag[best]),
        best_lag_frames=int(lags[best]),
        best_lag_ms=_rounded(_peak(by_lag, best, lags) * lag_ms, 1),
        control_mean=_rounded(control[:, best].mean()),
        control_worst=_rounded(reached.max()),
        # One is added above and below: the real voice is one of the orders that could have been drawn.
        chance=_rounded((1 + np.count_nonzero(reached >= by_lag[best])) / (1 + len(shuffled)), 4),
        shuffles=len(shuffled),
        drift_ms=_drift(opening, voice, lags, half, lag_ms),
        own_correlation=None
        if own_opening is None or np.isfinite(own_opening).sum() < _LEAST_FRAMES
        else _rounded(correlations(_stilled(own_opening), voice.loudness[None], lags[best : best + 1])[0, 0]),
        max_opening=_rounded(top, 4),
        pause_opening=_rounded(paused.mean() / max(top, _LEAST_MOTION)) if paused.size else None,
        pause_seconds=_rounded(paused.size / float(fps)),
    )
    band = np.asarray(np.percentile(control, [5, 95], axis=0), np.float64)
    return Agreement(
        figures, np.asarray(lags * lag_ms, np.float64), by_lag, np.asarray(control.mean(0), np.float64), band
    )


def correlations(opening: Curve, loudness: Curve, lags: NDArray[np.int_]) -> Curve:
    """Pearson's correlation of one mouth with several voices, each lag over the frames that both have.

    Args:
        opening: (frames,), NaN where it is not known.
        loudness: (voices, frames).
        lags: (lags,) frames by which the mouth is later.

    Returns:
        (voices, lags), -1..1; 0 where one of the two does not move.
    """
    frames = np.arange(len(opening))
    result = np.zeros((len(loudness), len(lags)))
    for place, lag in enumerate(lags):
        kept = np.isfinite(opening) & (frames >= lag) & (frames < len(opening) + lag)
        if np.count_nonzero(kept) < _LEAST_FRAMES // 2:
            continue
        mouth = opening[kept] - opening[kept].mean()
        voices = loudness[:, frames[kept] - lag]
        voices = voices - voices.mean(1, keepdims=True)
        spread = np.sqrt((mouth**2).sum() * (voices**2).sum(1))
        result[:, place] = np.where(spread > _STILL, voices @ mouth / np.maximum(spread, _STILL), 0)
    return result


def _stilled(opening: Curve) -> Curve:
    """Take a mouth that hardly moves for one that does not: what trembles may do so in time."""
    low, high = np.nanpercentile(opening, [_MIN_PERCENTILE, _MAX_PERCENTILE])
    return opening if high - low >= _LEAST_MOTION else np.where(np.isfinite(opening), low, np.nan)


def _shuffled(loudness: Curve, fps: Fraction, count: int) -> Curve:
    """Cut a voice into blocks and put them in other orders; (0, frames) where there are too few blocks."""
    block = max(1, round(_BLOCK_SECONDS * fps))
    blocks = [loudness[start : start + block] for start in range(0, len(loudness), block)]
    if len(blocks) < _LEAST_BLOCKS:
        return np.zeros((0, len(loudness)))
    draw = np.random.default_rng(_SEED)
    return np.stack([np.concatenate([blocks[k] for k in draw.permutation(len(blocks))]) for _ in range(count)])


def _peak(by_lag: Curve, best: int, lags: NDArray[np.int_]) -> float:
    """Vertex of the parabola through the best lag and its neighbours, in frames."""
    if not 0 < best < len(by_lag) - 1:
        return float(lags[best])
    before, at, after = by_lag[best - 1 : best + 2]
    bend = before - 2 * at + after
    return float(lags[best] + (0.5 * (before - after) / bend if bend < 0 else 0))


def _drift(opening: Curve, voice: Voice, lags: NDArray[np.int_], half: int, lag_ms: float) -> float | None:
    halves = []
    for part in (slice(0, half), slice(half, len(opening))):
        if np.isfinite(opening[part]).sum() < 2 * _LEAST_FRAMES:
            return None
        by_lag = correlations(opening[part], voice.loudness[None, part], lags)[0]
        best = int(np.argmax(by_lag))
        if by_lag[best] < _LEAST_FIT:
            return None
        halves.append(_peak(by_lag, best, lags))
    return _rounded((halves[1] - halves[0]) * lag_ms, 1)


def _rounded(value: float, places: int = 3) -> float:
    return round(float(value), places)
