"""What the network hears is what it was trained to hear."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from gpu_tasks.wav2lip.mel import SILENCE, Chunks, MelRecorder, chunk_starts, mel_spectrogram
from tests.engine.footage import voice_16k
from tests.wav2lip import by_hand

# Half a window at either end is partly mirrored sound, which libraries mirror in their own ways.
BORDER = 3


def noise(samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(0, 0.2, samples).clip(-1, 1).astype(np.float32)


def tone(hertz: float, seconds: float = 0.5, level: float = 0.5) -> NDArray[np.float32]:
    times = np.arange(int(16_000 * seconds)) / 16_000
    return (level * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.mark.parametrize(
    "wave",
    [voice_16k()[:40_000], noise(20_000), tone(440), tone(60, level=1), tone(7500, level=1e-3)],
    ids=["voice", "noise", "440 Hz", "60 Hz", "7.5 kHz"],
)
def test_the_spectrogram_is_that_of_the_recipe(wave: NDArray[np.float32]) -> None:
    mel = mel_spectrogram(wave)
    expected = by_hand.spectrogram(wave.astype(np.float64))
    assert mel.shape == expected.shape == (80, 1 + len(wave) // 200)
    assert mel.dtype == np.float32
    assert np.abs(mel - expected)[:, BORDER:-BORDER].max() < 1e-3
    # At the borders as well: both mirror the emphasised sound.
    assert np.abs(mel - expected).max() < 1e-3


def test_digital_silence_is_the_floor_and_no_nan() -> None:
    assert (mel_spectrogram(np.zeros(8_000, np.float32)) == SILENCE).all()


def test_a_tone_lights_the_mel_of_its_pitch() -> None:
    peaks = [int(mel_spectrogram(tone(hertz))[:, 20].argmax()) for hertz in (200, 500, 1000, 3000, 7000)]
    assert peaks == sorted(peaks)
    assert len(set(peaks)) == 5
    assert peaks[0] < 10
    assert peaks[-1] > 70


@pytest.mark.parametrize("samples", [1, 2, 199, 200, 401])
def test_the_shortest_sounds_have_a_spectrogram(samples: int) -> None:
    mel = mel_spectrogram(noise(samples))
    assert mel.shape == (80, 1 + samples // 200)
    assert np.isfinite(mel).all()


def test_a_long_sound_in_parts_is_the_whole() -> None:
    wave = noise(200 * 9_000)
    part = mel_spectrogram(wave[200 * 4_000 : 200 * 8_400])
    assert (
        np.abs(mel_spectrogram(wave)[:, 4_000 + BORDER : 8_400 - BORDER] - part[:, BORDER : 4_400 - BORDER]).max()
        < 1e-5
    )


@pytest.mark.parametrize(
    ("columns", "fps", "expected"),
    [
        (16, Fraction(25), [0, 0]),
        (40, Fraction(25), [0, 3, 6, 9, 12, 16, 19, 22, 24]),
        (30, Fraction(80), [*range(15), 14]),
        (20, Fraction(30000, 1001), [0, 2, 4]),
    ],
    ids=["one chunk", "25 fps", "a column a frame", "29.97 fps"],
)
def test_chunks_start_where_their_frames_do_and_the_last_one_ends_with_the_sound(
    columns: int, fps: Fraction, expected: list[int]
) -> None:
    assert chunk_starts(columns, fps).tolist() == expected


def test_a_frames_chunk_is_the_sound_from_its_time_on() -> None:
    mel = np.arange(80 * 100, dtype=np.float32).reshape(80, 100)
    chunks, starts = Chunks(mel, Fraction(25)), chunk_starts(100, Fraction(25))
    for index, start in enumerate(starts[:-1]):
        assert np.array_equal(chunks.at(index), mel[:, start : start + 16])


def test_one_shift_is_a_frame_of_the_training_whatever_the_frame_rate() -> None:
    mel = np.arange(80 * 200, dtype=np.float32).reshape(80, 200)
    for fps in (Fraction(25), Fraction(50), Fraction(30000, 1001)):
        plain, early, late = (Chunks(mel, fps, Fraction(shift)) for shift in (0, -5, 5))
        # Five frames of 1/25 s are 16 columns.
        assert early.at(30)[0, 0] == plain.at(30)[0, 0] - 16
        assert late.at(30)[0, 0] == plain.at(30)[0, 0] + 16
        assert early.at(0)[0, 0] == 0


def test_after_the_sound_there_is_silence() -> None:
    chunks = Chunks(np.zeros((80, 20), np.float32), Fraction(25))
    assert (chunks.at(3)[:, :11] == 0).all()
    assert (chunks.at(3)[:, 11:] == SILENCE).all()
    assert (chunks.at(100) == SILENCE).all()


@pytest.mark.parametrize("piece", [1, 399, 1024, 7_001])
def test_a_sound_in_pieces_has_the_spectrogram_of_the_whole(piece: int) -> None:
    wave = noise(23_456 if piece > 1 else 1_500)
    recorder = MelRecorder()
    for start in range(0, len(wave), piece):
        recorder.hear(wave[start : start + piece])
    mel = recorder.finish()
    assert mel.shape == (80, 1 + len(wave) // 200)
    assert np.abs(mel - mel_spectrogram(wave)).max() < 1e-5
