"""Whether mouth and voice go together: known lags, known nonsense, and numpy's own correlation."""

from fractions import Fraction

import numpy as np
import pytest

from gpu_tasks.quality.agreement import Agreement, Curve, agree, correlations
from gpu_tasks.quality.voice import Voice
from tests.quality.footage import syllables

FPS = Fraction(25)
FRAMES = 250


def voice_of(loudness: Curve) -> Voice:
    return Voice(loudness, loudness < 0.01, float(np.count_nonzero(loudness > 0.01) / 25))


def agreed(opening: Curve, loudness: Curve) -> Agreement:
    agreement = agree(opening, voice_of(loudness), FPS)
    assert agreement is not None
    return agreement


@pytest.mark.parametrize("lag", [-7, -2, 0, 1, 5, 9])
def test_the_lag_that_was_put_in_is_found(lag: int) -> None:
    loudness = syllables(FRAMES)
    figures = agreed(0.2 * np.roll(loudness, lag), loudness).figures
    assert figures.best_lag_frames == lag
    assert figures.best_lag_ms == pytest.approx(40 * lag, abs=4)
    assert figures.correlation > 0.95
    assert figures.chance < 0.01


def test_half_a_frame_is_found_between_the_frames() -> None:
    loudness = syllables(FRAMES)
    late = np.interp(np.arange(FRAMES) - 0.5, np.arange(FRAMES), loudness)
    assert agreed(late, loudness).figures.best_lag_ms == pytest.approx(20, abs=6)


def test_correlation_is_what_numpy_says_over_the_frames_that_both_have() -> None:
    draw = np.random.default_rng(2)
    opening, voices = draw.normal(size=80), draw.normal(size=(3, 80))
    opening[20:30] = np.nan
    for lag in (-6, 0, 11):
        result = correlations(opening, voices, np.array([lag]))[:, 0]
        for voice, value in zip(voices, result, strict=True):
            pairs = [(opening[f], voice[f - lag]) for f in range(80) if 0 <= f - lag < 80 and np.isfinite(opening[f])]
            assert value == pytest.approx(np.corrcoef(np.array(pairs).T)[0, 1])


def test_a_mouth_that_says_something_else_is_told_from_one_that_follows() -> None:
    loudness = syllables(FRAMES)
    figures = agreed(syllables(FRAMES, seed=99), loudness).figures
    assert figures.correlation < 0.4
    assert figures.chance > 0.1


def test_the_shuffled_control_is_near_nothing_and_always_the_same() -> None:
    loudness = syllables(FRAMES)
    one, two = agreed(loudness, loudness), agreed(loudness, loudness)
    assert abs(one.figures.control_mean) < 0.1
    assert one.figures.control_mean <= one.figures.control_worst < one.figures.correlation
    assert one.figures == two.figures
    assert (one.control_by_lag == two.control_by_lag).all()


def test_a_mouth_that_stays_open_in_pauses_is_seen() -> None:
    loudness = syllables(FRAMES, pauses=[(100, 140)])
    shut, ajar = 0.2 * loudness, 0.2 * np.maximum(loudness, 0.5)
    assert agreed(shut, loudness).figures.pause_opening == pytest.approx(0, abs=0.02)
    widest = float(np.percentile(np.maximum(loudness, 0.5), 98))
    assert agreed(ajar, loudness).figures.pause_opening == pytest.approx(0.5 / widest, abs=0.01)
    assert agreed(shut, loudness).figures.pause_seconds == pytest.approx(np.count_nonzero(loudness < 0.01) / 25)


def test_a_lag_that_grows_is_a_drift() -> None:
    loudness = syllables(500)
    late = np.interp(np.arange(500) - np.linspace(0, 8, 500), np.arange(500), loudness)
    assert agreed(late, loudness).figures.drift_ms == pytest.approx(160, abs=50)
    assert agreed(loudness, loudness).figures.drift_ms == pytest.approx(0, abs=5)


def test_a_mouth_that_never_moves_follows_nothing() -> None:
    figures = agreed(np.full(FRAMES, 0.1), syllables(FRAMES)).figures
    assert figures.correlation == 0
    assert figures.chance == 1


def test_a_closed_mouth_that_trembles_in_time_with_the_voice_follows_nothing_and_is_not_open() -> None:
    loudness = syllables(FRAMES, pauses=[(100, 140)])
    figures = agreed(0.01 * loudness + 0.002, loudness).figures
    assert figures.correlation == 0
    assert figures.pause_opening == pytest.approx(0.1, abs=0.02)


def test_frames_without_a_mouth_are_left_out() -> None:
    loudness = syllables(FRAMES)
    opening = np.roll(loudness, 3)
    opening[60:120] = np.nan
    assert agreed(opening, loudness).figures.best_lag_frames == 3


def test_too_little_speech_or_mouth_says_nothing() -> None:
    loudness = syllables(FRAMES)
    assert agree(loudness, voice_of(np.zeros(FRAMES)), FPS) is None
    assert agree(np.full(FRAMES, np.nan), voice_of(loudness), FPS) is None
    assert agree(loudness, Voice(loudness, loudness < 0.01, 0.5), FPS) is None
