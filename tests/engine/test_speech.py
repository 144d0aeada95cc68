"""From a voice to mouth shapes."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.faces.arrays import Floats
from tests.engine.footage import FPS, correlation, loudness, voice_16k


def _vowel(hertz: tuple[float, ...], seconds: float) -> Floats:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(sum(0.1 * np.sin(2 * np.pi * f * t) for f in hertz), np.float32)


def test_the_opening_follows_loudness_measured_another_way() -> None:
    voice = voice_16k()
    frames = int(len(voice) / SAMPLE_RATE * float(FPS))
    opening = mouth_shapes(voice, FPS, frames).opening

    assert correlation(opening, loudness(voice, frames)) > 0.8
    assert opening.min() == 0
    assert 0.85 < opening.max() <= 1


@pytest.mark.parametrize("voice", [np.zeros(32_000, np.float32), np.zeros(0, np.float32)])
def test_silence_keeps_the_mouth_closed_and_at_rest(voice: Floats) -> None:
    shapes = mouth_shapes(voice, FPS, 50)

    assert (shapes.opening == 0).all()
    assert (shapes.spread == 0.5).all()


def test_a_hiss_far_below_speech_does_not_open_the_mouth() -> None:
    hiss = np.random.default_rng(6).normal(0, 10 ** (-65 / 20), 32_000).astype(np.float32)

    assert (mouth_shapes(hiss, FPS, 50).opening == 0).all()


def test_a_pause_closes_the_mouth_and_the_end_of_the_voice_too() -> None:
    vowel = _vowel((500, 1500), 0.5)
    shapes = mouth_shapes(np.concatenate([vowel, np.zeros(8000, np.float32), vowel]), Fraction(30), 60)

    assert shapes.opening[3:12].min() > 0.8
    assert (shapes.opening[18:27] == 0).all()
    assert shapes.opening[33:42].min() > 0.8
    assert (shapes.opening[48:] == 0).all()


def test_a_closure_as_short_as_a_plosive_is_seen() -> None:
    vowel = _vowel((500, 1500), 0.5)
    shapes = mouth_shapes(np.concatenate([vowel, np.zeros(1600, np.float32), vowel]), Fraction(30), 33)

    assert shapes.opening[15:18].min() < 0.25


def test_a_short_dip_closes_the_mouth_wherever_it_falls_between_frames() -> None:
    for offset in range(0, 534, 67):
        voice = _vowel((500, 1500), 1.0)
        # sixty milliseconds of a stopped voice, a sixth of the vowel's amplitude
        voice[8000 + offset : 8960 + offset] /= 6
        opening = mouth_shapes(voice, Fraction(30), 30).opening

        assert opening[14:18].min() < 0.15
        assert opening[4:12].min() > 0.8
        assert opening[20:27].min() > 0.8


def test_a_nasal_closes_the_mouth_and_a_fricative_does_not() -> None:
    vowel, time = _vowel((500, 1500), 0.4), np.arange(1600) / SAMPLE_RATE
    nasal = np.asarray(0.15 * np.sin(2 * np.pi * 250 * time), np.float32)
    hiss = np.random.default_rng(3).normal(0, 0.05, 1600).astype(np.float32)

    def between(sound: Floats) -> float:
        opening = mouth_shapes(np.concatenate([vowel, sound, vowel]), Fraction(30), 27).opening
        return float(opening[12:15].min())

    assert between(nasal) < 0.1
    assert between(hiss) > 0.15


def test_a_vowel_that_only_grows_softer_does_not_close_the_mouth() -> None:
    swell = np.linspace(0, 2 * np.pi * 4, SAMPLE_RATE)
    voice = _vowel((500, 1500), 1.0) * (0.75 + 0.25 * np.cos(swell)).astype(np.float32)

    assert mouth_shapes(voice, Fraction(30), 30).opening[3:27].min() > 0.5


def test_the_mouth_opens_faster_than_it_closes_and_neither_at_once() -> None:
    voice = np.concatenate([np.zeros(8000, np.float32), _vowel((500, 1500), 0.5), np.zeros(8000, np.float32)])
    opening = mouth_shapes(voice, Fraction(100), 150).opening
    moving = (opening > 0.05) & (opening < 0.95)

    assert 3 < moving[:75].sum() < moving[75:].sum() < 13


def test_ten_minutes_are_heard_in_little_memory() -> None:
    voice = np.tile(voice_16k(), 80)[: 600 * SAMPLE_RATE]
    tracemalloc.start()
    mouth_shapes(voice, Fraction(30), 18_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 3 * voice.nbytes


def test_front_vowels_spread_the_mouth_and_round_ones_round_it() -> None:
    front, back = _vowel((300, 2300, 2400), 1.0), _vowel((300, 400, 700), 1.0)
    spread = mouth_shapes(np.concatenate([front, back]), Fraction(25), 50).spread

    assert spread[5:20].mean() > 0.7
    assert spread[30:45].mean() < 0.3


def test_a_frame_hears_its_own_moment_at_any_frame_rate() -> None:
    voice = np.zeros(3 * SAMPLE_RATE, np.float32)
    voice[SAMPLE_RATE : 2 * SAMPLE_RATE] = _vowel((500, 1500), 1.0)
    for fps in (Fraction(24000, 1001), Fraction(25), Fraction(60)):
        opening = mouth_shapes(voice, fps, int(3 * fps)).opening
        heard = np.flatnonzero(opening > 0.5) / float(fps)
        assert abs(heard[0] - 1) < 1.5 / float(fps)
        assert abs(heard[-1] - 2) < 1.5 / float(fps)
