"""Which frames a person should look at: the worst of each kind, no two of them next to each other."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.quality import Concern, WorstFrame
from gpu_tasks.quality.series import Series

_EACH: Final = 3
_APART_SECONDS: Final = 0.4
# Below these a frame is nothing to look at, even if it is the worst there is.
_LEAST_OPENING: Final = 0.15
_LEAST_MISMATCH: Final = 0.35
_LEAST_RATIO: Final = 1.3
_OUTSIDE_BELOW_DB: Final = 38.0


def worst_frames(series: Series) -> tuple[WorstFrame, ...]:
    """Return up to three frames of each concern, in the order of the video."""
    apart = max(1, int(_APART_SECONDS * series.fps))
    found = [
        WorstFrame(frame=frame, seconds=round(float(frame / series.fps), 3), concern=concern, value=round(value, 3))
        for concern, badness, told in _curves(series)
        for frame, value in _peaks(badness, apart, told)
    ]
    return tuple(sorted(found, key=lambda worst: worst.frame))


_Curve = NDArray[np.float64]


def _curves(series: Series) -> Iterator[tuple[Concern, _Curve, _Curve]]:
    """Yield for each concern how bad each frame is (NaN: not at all) and what is told of it."""
    seen, voice, agreement = series.seen, series.voice, series.agreement
    lost = np.where(seen.lost, 1.0, np.nan)
    yield Concern.NO_FACE, lost, lost
    db = series.outside_db
    yield Concern.OUTSIDE, np.where(db < _OUTSIDE_BELOW_DB, -db, np.nan), db
    ratio = series.flicker_ratios
    yield Concern.FLICKER, np.where(ratio > _LEAST_RATIO, ratio, np.nan), ratio
    if voice is None or agreement is None or agreement.figures.max_opening <= 0:
        return
    share = seen.opening / agreement.figures.max_opening
    yield Concern.OPEN_IN_PAUSE, np.where(voice.pauses & (share > _LEAST_OPENING), share, np.nan), share
    lag = agreement.figures.best_lag_frames
    wanted = voice.loudness[np.clip(np.arange(len(share)) - lag, 0, len(share) - 1)]
    against = np.abs(np.clip(share, 0, 1) - wanted)
    yield Concern.MOUTH_AGAINST_VOICE, np.where(~voice.pauses & (against > _LEAST_MISMATCH), against, np.nan), against


def _peaks(badness: _Curve, apart: int, told: _Curve) -> Iterator[tuple[int, float]]:
    left = badness.copy()
    for _ in range(_EACH):
        if not np.isfinite(left).any():
            return
        worst = int(np.nanargmax(left))
        yield worst, float(told[worst])
        left[max(0, worst - apart) : worst + apart + 1] = np.nan
