"""Loudness per frame and pauses, against sounds made by formula."""

from fractions import Fraction

import numpy as np
import pytest

from gpu_tasks.faces.arrays import Floats
from gpu_tasks.quality.voice import SAMPLE_RATE, listen

FPS = Fraction(25)


def tone(hertz: float, seconds: float, amplitude: float = 0.5) -> Floats:
    return np.asarray(amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE), "f4")


def silence(seconds: float) -> Floats:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)


def test_loudness_grows_as_hearing_does() -> None:
    voice = listen(np.concatenate([tone(1000, 2), tone(1000, 2, 0.05)]), FPS, 100)
    assert voice.loudness[25] == pytest.approx(1.0, abs=0.01)
    assert voice.loudness[75] == pytest.approx(0.1**0.6, rel=0.02)


@pytest.mark.parametrize("hertz", [100.0, 6000.0])
def test_what_is_no_speech_is_not_heard(hertz: float) -> None:
    voice = listen(np.concatenate([tone(1000, 1), tone(hertz, 1)]), FPS, 50)
    assert voice.loudness[35:45].max() < 0.06


def test_pauses_are_where_nobody_speaks_and_not_next_to_speech() -> None:
    voice = listen(np.concatenate([tone(500, 2), silence(1), tone(500, 2)]), FPS, 125)
    assert not voice.pauses[:52].any()
    assert voice.pauses[54:71].all()
    assert not voice.pauses[73:].any()
    assert voice.speech_seconds == pytest.approx(4.0, abs=0.1)


def test_a_short_dip_is_no_pause() -> None:
    assert not listen(np.concatenate([tone(500, 2), silence(0.12), tone(500, 2)]), FPS, 103).pauses.any()


def test_silence_is_one_pause_and_no_speech() -> None:
    voice = listen(silence(2), FPS, 50)
    assert voice.pauses.all()
    assert not voice.loudness.any()
    assert voice.speech_seconds == 0


def test_a_picture_longer_than_its_sound_ends_in_silence() -> None:
    voice = listen(tone(500, 1), FPS, 1200)
    assert len(voice.loudness) == 1200
    assert voice.loudness[30:].max() < 1e-3


def test_the_rate_of_frames_does_not_move_what_is_heard() -> None:
    burst = np.concatenate([silence(1), tone(700, 0.2), silence(1)])
    for fps in (Fraction(24000, 1001), Fraction(30), Fraction(60)):
        loudness = listen(burst, fps, int(2.2 * fps)).loudness
        centre = float((loudness * (np.arange(len(loudness)) + 0.5)).sum() / loudness.sum() / fps)
        assert centre == pytest.approx(1.1, abs=0.01)
