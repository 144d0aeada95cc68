"""When somebody speaks, and what denoising leaves of a voice."""

from fractions import Fraction

import numpy as np
import pytest

from gpu_tasks.faces.arrays import Floats
from gpu_tasks.wav2lip import voice as voices
from gpu_tasks.wav2lip.voice import PowerMeter, denoised
from tests.engine.footage import voice_16k
from tests.wav2lip.sounds import RATE, babble, decibel, hiss, silence

FPS = Fraction(25)


def powers(wave: Floats, *, piece: int = 10**9) -> Floats:
    meter = PowerMeter()
    for start in range(0, len(wave), piece):
        meter.hear(wave[start : start + piece])
    return meter.finish()


def speech_shares(wave: Floats, fps: Fraction, frame_count: int) -> Floats:
    return voices.speech_shares(powers(wave), fps, frame_count)


def is_silent(wave: Floats) -> bool:
    return voices.is_silent(powers(wave))


def test_pauses_are_zero_speech_is_one_and_between_them_it_rises_and_falls() -> None:
    shares = speech_shares(np.concatenate([silence(1), babble(1), silence(1)]), FPS, 75)
    assert (shares[:21] == 0).all()
    assert (shares[26:49] == 1).all()
    assert (shares[54:] == 0).all()
    assert (np.diff(shares[21:26]) >= 0).all()
    assert (np.diff(shares[49:54]) <= 0).all()
    assert 0 < shares[21:26].max() <= 1


def test_the_closure_of_a_consonant_is_no_pause() -> None:
    spoken = np.concatenate([babble(0.6), silence(0.12), babble(0.6)])
    assert (speech_shares(spoken, FPS, 30) == 1).all()


@pytest.mark.parametrize("level", [1.0, 0.05], ids=["loud", "quiet"])
def test_a_voice_is_speech_however_loud_it_was_recorded(level: float) -> None:
    voice = np.concatenate([babble(1, level), silence(0.8), babble(1, level)])
    shares = speech_shares(voice, FPS, 70)
    assert (shares[3:22] == 1).all()
    assert (shares[30:40] == 0).all()


def test_after_the_sound_nobody_speaks() -> None:
    assert (speech_shares(babble(1), FPS, 60)[30:] == 0).all()


def test_frames_are_told_apart_at_any_rate_and_length() -> None:
    voice = np.concatenate([babble(1), silence(1)])
    for fps in (Fraction(24000, 1001), Fraction(60), Fraction(10)):
        count = int(2 * fps)
        shares = speech_shares(voice, fps, count)
        assert shares.shape == (count,)
        assert (shares[: int(0.95 * fps)] == 1).all()
        assert (shares[int(1.3 * fps) :] == 0).all()


def test_the_sample_voice_speaks_most_of_the_time() -> None:
    voice = voice_16k()
    frames = int(len(voice) / RATE * 25)
    assert 0.6 < float(speech_shares(voice, FPS, frames).mean()) <= 1


def test_only_what_can_be_heard_is_a_sound() -> None:
    assert is_silent(silence(1))
    assert is_silent(hiss(1, 1e-4))
    assert is_silent(np.zeros(1, np.float32))
    assert not is_silent(babble(0.1, 0.02))
    assert not is_silent(np.concatenate([silence(5), babble(0.05)]))


def test_steady_noise_is_taken_off_and_the_voice_stays() -> None:
    voice = np.concatenate([silence(0.5), babble(1.0), silence(0.5)])
    noisy = voice + hiss(2, 0.02)
    clean = denoised(noisy)
    assert clean.shape == noisy.shape
    assert clean.dtype == np.float32
    pause, spoken = slice(0, RATE // 3), slice(int(0.6 * RATE), int(1.4 * RATE))
    assert decibel(clean[pause]) < decibel(noisy[pause]) - 12
    assert abs(decibel(clean[spoken]) - decibel(voice[spoken])) < 1.5
    assert float(np.corrcoef(clean[spoken], voice[spoken])[0, 1]) > 0.97


def test_denoising_opens_the_pauses_of_a_noisy_voice() -> None:
    noisy = np.concatenate([babble(1), silence(1), babble(1)]) + hiss(3, 0.02)
    assert (speech_shares(noisy, FPS, 75) == 1).all()
    assert (speech_shares(denoised(noisy), FPS, 75)[30:45] == 0).all()


@pytest.mark.parametrize("samples", [1, 100, 511, 5000])
def test_sounds_of_any_length_are_denoised(samples: int) -> None:
    made = denoised(hiss(1, 0.1)[:samples])
    assert made.shape == (samples,)
    assert np.isfinite(made).all()
    assert not denoised(silence(0.2)).any()


@pytest.mark.parametrize("piece", [1, 37, 160, 1024])
def test_a_sound_in_pieces_is_measured_as_the_whole(piece: int) -> None:
    wave = hiss(0.25, 0.1)[:3901]
    whole = powers(wave)
    assert whole.shape == (25,)
    assert np.allclose(powers(wave, piece=piece), whole, rtol=1e-6)
    assert whole[3] == pytest.approx(float(np.square(wave[480:640]).mean()), rel=1e-5)
