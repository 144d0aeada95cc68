"""Wav2Lip's network in plain numpy, from its published table, and its spectrogram sample by sample.

Shares no code with the engine: convolutions are written as sums over shifted pictures, normalisation is not folded, the
spectrogram is a sum over cosines and sines.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Kernel, stride and padding by layer; "R" repeats a channel count with 3x3 and adds its input, "T" doubles the size.
_FACE = (
    ("7 1 3",),
    ("3 2 1", "R", "R"),
    ("3 2 1", "R", "R", "R"),
    ("3 2 1", "R", "R"),
    ("3 2 1", "R", "R"),
    ("3 2 1", "R"),
    ("3 1 0", "1 1 0"),
)
_SOUND = (*("3 1 1", "R", "R", "3 3,1 1", "R", "R", "3 3 1", "R", "R", "3 3,2 1", "R", "3 1 0", "1 1 0"),)
_BACK = (("1 1 0",), ("T 1 0", "R"), *(("T 2 1", "R", "R"),) * 5)


def said(state: Mapping[str, Array], mel: Array, face: Array) -> Array:
    """Return what the network makes of one frame: mel (1, 80, 16) and face (6, 96, 96) to (3, 96, 96)."""
    seen, pictures = face, []
    for place, block in enumerate(_FACE):
        for number, layer in enumerate(block):
            seen = _layer(state, f"face_encoder_blocks.{place}.{number}", layer, seen)
        pictures.append(seen)
    made = mel
    for number, layer in enumerate(_SOUND):
        made = _layer(state, f"audio_encoder.{number}", layer, made)
    for place, block in enumerate(_BACK):
        for number, layer in enumerate(block):
            made = _layer(state, f"face_decoder_blocks.{place}.{number}", layer, made)
        made = np.concatenate([made, pictures.pop()])
    made = _layer(state, "output_block.0", "3 1 1", made)
    last = _convolved(made, state["output_block.1.weight"], (1, 1), 0) + state["output_block.1.bias"][:, None, None]
    return np.asarray(1 / (1 + np.exp(-last)), np.float64)


def _layer(state: Mapping[str, Array], name: str, layer: str, seen: Array) -> Array:
    key = f"{name}.conv_block"
    weight, bias = state[f"{key}.0.weight"], state[f"{key}.0.bias"]
    kind, stride, padding = ("3 1 1" if layer == "R" else layer).split()
    if kind == "T":
        made = _spread(seen, weight, int(stride), int(padding))
    else:
        steps = [int(step) for step in stride.split(",")]
        made = _convolved(seen, weight, (steps[0], steps[-1]), int(padding))
    made += bias[:, None, None]
    mean, variance = state[f"{key}.1.running_mean"], state[f"{key}.1.running_var"]
    made = (made - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
    made = made * state[f"{key}.1.weight"][:, None, None] + state[f"{key}.1.bias"][:, None, None]
    return np.asarray(np.maximum(made + seen if layer == "R" else made, 0), np.float64)


def _convolved(seen: Array, weight: Array, steps: tuple[int, int], padding: int) -> Array:
    padded = np.pad(seen, ((0, 0), (padding, padding), (padding, padding)))
    down, across = weight.shape[2:]
    rows = (padded.shape[1] - down) // steps[0] + 1
    columns = (padded.shape[2] - across) // steps[1] + 1
    made = np.zeros((len(weight), rows, columns))
    for y in range(down):
        for x in range(across):
            part = padded[:, y : y + rows * steps[0] : steps[0], x : x + columns * steps[1] : steps[1]]
            made += np.tensordot(weight[:, :, y, x], part, axes=1)
    return made


def _spread(seen: Array, weight: Array, stride: int, padding: int) -> Array:
    """Every input pixel lays its kernel down; a stride of two with one column over doubles the size exactly."""
    _, rows, columns = seen.shape
    given, down, across = weight.shape[1:]
    canvas = np.zeros((given, (rows - 1) * stride + down + 1, (columns - 1) * stride + across + 1))
    for y in range(down):
        for x in range(across):
            laid = np.tensordot(weight[:, :, y, x].T, seen, axes=1)
            canvas[:, y : y + rows * stride : stride, x : x + columns * stride : stride] += laid
    size = rows * stride if stride > 1 else rows - 1 + down - 2 * padding
    return canvas[:, padding : padding + size, padding : padding + size]


def spectrogram(wave: Array) -> Array:
    """Return the (80, T) mel spectrogram of a 16 kHz sound by the published recipe, one column after the other."""
    emphasised = np.array([wave[0], *(wave[1:] - 0.97 * wave[:-1])])
    mirrored = np.concatenate([emphasised[400:0:-1], emphasised, emphasised[-2:-402:-1]])
    times = np.arange(800)
    window = np.sin(np.pi * times / 800) ** 2
    angles = 2 * np.pi * np.outer(np.arange(401), times) / 800
    bank = _bank()
    columns = []
    for start in range(0, len(mirrored) - 799, 200):
        piece = mirrored[start : start + 800] * window
        amplitude = np.hypot(np.cos(angles) @ piece, np.sin(angles) @ piece)
        level = 20 * np.log10(np.maximum(bank @ amplitude, 10 ** (-100 / 20)))
        columns.append(np.clip((level - 20 + 100) * 0.08 - 4, -4, 4))
    return np.array(columns).T


def _bank() -> Array:
    linear = np.arange(15) * 200 / 3
    logarithmic = 1000 * 6.4 ** (np.arange(60) / 27)
    scale = np.concatenate([linear, logarithmic])
    marks = np.arange(len(scale), dtype=float)
    low, high = _mel_of(55.0), _mel_of(7600.0)
    # Between the scale's marks it is straight below 1 kHz and geometric above, where its logarithm is straight.
    edges = [
        float(np.interp(mel, marks[:16], scale[:16]))
        if mel < 15
        else float(np.exp(np.interp(mel, marks[15:], np.log(scale[15:]))))
        for mel in low + (high - low) * np.arange(82) / 81
    ]
    bank = np.zeros((80, 401))
    for mel in range(80):
        left, middle, right = edges[mel : mel + 3]
        for k in range(401):
            hertz = k * 20
            if left < hertz <= middle:
                bank[mel, k] = (hertz - left) / (middle - left)
            elif middle < hertz < right:
                bank[mel, k] = (right - hertz) / (right - middle)
        bank[mel] *= 2 / (right - left)
    return bank


def _mel_of(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))
