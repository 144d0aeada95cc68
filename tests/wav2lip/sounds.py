"""Sounds whose speech, silence and noise are where a test wants them."""

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.faces.arrays import Floats

RATE = 16_000


def babble(seconds: float, level: float = 0.3) -> Floats:
    """Something like speech: a buzz whose vowel changes five times a second."""
    times = np.arange(int(seconds * RATE)) / RATE
    pitch = 2 * np.pi * (120 * times + 3 * np.sin(2 * np.pi * 1.7 * times))
    buzz = sum(np.sin(k * pitch) / k for k in range(1, 30))
    vowel = np.sin(2 * np.pi * (700 + 400 * np.sign(np.sin(2 * np.pi * 2.5 * times))) * times)
    made = buzz * (1 + vowel) * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * times))
    return np.asarray(level * made / np.abs(made).max(), np.float32)


def silence(seconds: float) -> Floats:
    return np.zeros(int(seconds * RATE), np.float32)


def hiss(seconds: float, level: float) -> Floats:
    return np.random.default_rng(5).normal(0, level, int(seconds * RATE)).astype(np.float32)


def write_wav(path: Path, samples: Floats, *, repeated: int = 1) -> None:
    """Write a sound, so many times in a row."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        content = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        for _ in range(repeated):
            file.writeframes(content)


def decibel(samples: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20))
