"""Sounds of every kind that people send, and some that nobody does by accident."""

import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import ChangeKind, MediaKind
from tests.media.clocks import losing, write_stamped
from tests.media.corpus.making import FAST, clip, covered, cut, noise_in_the_middle, patched
from tests.media.corpus.specimen import AS_IT_IS, Maker, Specimen, Verdict, changed, written
from tests.media.footage import tone, write_sound

_WAVE_PCM, _WAVE_FLOAT = 1, 3
_ID3_OF_64_KB = b"ID3\x04\0\0" + bytes((0, 4, 0, 0)) + bytes(1 << 16)


def wav(samples: NDArray[Any], *, rate: int = 16_000, channels: int = 1, stated_bytes: int | None = None) -> bytes:
    """Write a RIFF WAVE file by hand: muxers refuse what decoders have to stand."""
    kind = _WAVE_FLOAT if samples.dtype.kind == "f" else _WAVE_PCM
    width = samples.dtype.itemsize
    content = samples.tobytes()
    size = len(content) if stated_bytes is None else stated_bytes
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * channels * width, channels * width, width * 8)
    head = b"RIFF" + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", size) + content


def _floats(*, bad: float | None = None) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = tone(seconds=0.5, rate=16_000)[0].copy()
    if bad is not None:
        samples[1000:1010] = bad
    return samples


def _noise(seconds: float, rate: int = 16_000) -> NDArray[np.int16]:
    return np.random.default_rng(3).integers(-9000, 9000, round(seconds * rate), dtype=np.int16)


def _sound(name: str, verdict: Verdict, make: Maker | None = None, /, **how: Any) -> Specimen:  # noqa: ANN401  # passed on
    return Specimen(name, MediaKind.AUDIO, make or partial(_write, **how), verdict)


def _write(path: Path, *, channels: int = 1, seconds: float = 0.5, rate: int = 48_000, **how: Any) -> None:  # noqa: ANN401  # passed on
    write_sound(path, tone(seconds=seconds, rate=rate, channels=channels), rate=rate, **how)


def _noisy_flac(path: Path) -> None:
    samples = (_noise(3)[None] / (1 << 15)).astype(np.float32)
    write_sound(path, samples, rate=16_000, codec="flac", container="flac")


def _silent_flac(path: Path) -> None:
    samples = np.zeros((1, 300 * 8000), dtype=np.float32)
    write_sound(path, samples, rate=8000, codec="flac", container="flac")


_MP3: Maker = partial(_write, codec="libmp3lame", container="mp3")
_FLAC: Maker = partial(_write, codec="flac", container="flac")
_COMMENT = ("aac", "mono", Disposition.comment)
_DIALOGUE = ("aac", "stereo", Disposition.default)

SOUNDS = [
    _sound("wav, 16 bits", AS_IT_IS),
    _sound("wav, 8 bits", AS_IT_IS, written(wav(np.full(8000, 128, dtype=np.uint8)))),
    _sound("wav, 24 bits, 96 kHz, stereo", AS_IT_IS, codec="pcm_s24le", rate=96_000, channels=2, layout="stereo"),
    _sound("wav, 32-bit floats", AS_IT_IS, codec="pcm_f32le"),
    _sound("wav, A-law, 8 kHz (telephone)", AS_IT_IS, codec="pcm_alaw", rate=8_000),
    _sound("wav of silence", AS_IT_IS, written(wav(np.zeros(8000, dtype=np.int16)))),
    _sound("wav from a pipe: length not stated", AS_IT_IS, written(wav(_noise(0.5), stated_bytes=0xFFFFFFFF))),
    _sound("wav cut off", AS_IT_IS, written(wav(_noise(0.5), stated_bytes=64_000))),
    _sound("mp3", AS_IT_IS, _MP3),
    _sound("mp3 with a cover", AS_IT_IS, partial(covered, codec="libmp3lame", container="mp3")),
    _sound("mp3 behind a tag of 64 KB", AS_IT_IS, patched(_MP3, lambda content: _ID3_OF_64_KB + content)),
    _sound("mp3 cut within a frame", AS_IT_IS, patched(_MP3, cut(0.61))),
    _sound("mp3 that begins within a frame", FaultCode.MEDIA_UNSUPPORTED, patched(_MP3, lambda content: content[777:])),
    _sound("m4a, AAC", AS_IT_IS, codec="aac", container="mp4"),
    _sound("m4a with a cover", AS_IT_IS, partial(covered, codec="aac", container="mp4")),
    _sound("m4a, ALAC", AS_IT_IS, codec="alac", container="mp4"),
    _sound("AAC without a container", AS_IT_IS, codec="aac", container="adts"),
    _sound("flac", AS_IT_IS, _FLAC),
    _sound("ogg, Opus", AS_IT_IS, codec="libopus", container="ogg"),
    _sound("ogg, FLAC", AS_IT_IS, codec="flac", container="ogg"),
    _sound("webm, Opus (a browser's recorder)", AS_IT_IS, codec="libopus", container="webm"),
    _sound(
        "mkv, AC-3 5.1", changed(ChangeKind.MIXED_DOWN), codec="ac3", container="matroska", channels=6, layout="5.1"
    ),
    _sound("wav, 5.1", changed(ChangeKind.MIXED_DOWN), channels=6, layout="5.1"),
    _sound("wav, 3 channels without a layout", changed(ChangeKind.MIXED_DOWN), written(wav(_noise(0.9), channels=3))),
    _sound("a video with sound", AS_IT_IS, partial(clip, options=FAST, tracks=(_DIALOGUE,))),
    _sound(
        "a video whose picture is of another codec",
        AS_IT_IS,
        partial(clip, codec="ffv1", container="matroska", tracks=(_DIALOGUE,)),
    ),
    _sound(
        "commentary before dialogue",
        changed(ChangeKind.TRACK_CHOSEN),
        partial(clip, options=FAST, tracks=(_COMMENT, _DIALOGUE)),
    ),
    _sound(
        "m4a with a gap of a second",
        changed(ChangeKind.GAPS_FILLED),
        partial(write_stamped, samples=tone(seconds=4), stamp=losing(1.5, 2.5)),
    ),
    _sound(
        "webm, Opus with a gap of a second",
        changed(ChangeKind.GAPS_FILLED),
        partial(write_stamped, samples=tone(seconds=4), stamp=losing(1.5, 2.5), codec="libopus", container="matroska"),
    ),
    _sound("wav, 192 kHz", changed(ChangeKind.RESAMPLED), rate=192_000),
    _sound("wav, 4 kHz", changed(ChangeKind.RESAMPLED), rate=4_000),
    _sound("wav with NaN", changed(ChangeKind.SAMPLES_REPAIRED), written(wav(_floats(bad=float("nan"))))),
    _sound("wav with infinity", changed(ChangeKind.SAMPLES_REPAIRED), written(wav(_floats(bad=float("inf"))))),
    _sound("wav with samples of 1e30", changed(ChangeKind.SAMPLES_REPAIRED), written(wav(_floats(bad=1e30)))),
    _sound("zero bytes", FaultCode.OBJECT_EMPTY, written(b"")),
    _sound("text", FaultCode.MEDIA_UNSUPPORTED, written(b"do re mi\n" * 100)),
    _sound("MIDI", FaultCode.MEDIA_UNSUPPORTED, written(b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk" + bytes(200))),
    _sound("aiff", FaultCode.MEDIA_UNSUPPORTED, codec="pcm_s16be", container="aiff"),
    _sound("asf", FaultCode.MEDIA_UNSUPPORTED, codec="libmp3lame", container="asf"),
    _sound(
        "wav, unknown coding inside",
        FaultCode.MEDIA_UNSUPPORTED,
        written(wav(_noise(1)).replace(b"fmt \x10\0\0\0\1\0", b"fmt \x10\0\0\0\x77\x77")),
    ),
    _sound("wav without samples", FaultCode.NO_AUDIO_STREAM, written(wav(np.zeros(0, dtype=np.int16)))),
    _sound("wav of 5 ms", FaultCode.NO_AUDIO_STREAM, written(wav(_noise(0.005)))),
    _sound("a video without sound", FaultCode.NO_AUDIO_STREAM, partial(clip, options=FAST)),
    _sound("wav, 1 kHz", FaultCode.MEDIA_UNSUPPORTED, written(wav(_noise(1, 1000), rate=1000))),
    _sound("wav, 64 channels", FaultCode.MEDIA_UNSUPPORTED, written(wav(_noise(2), channels=64))),
    _sound("wav, no channel", FaultCode.MEDIA_UNSUPPORTED, written(wav(_noise(1), channels=0))),
    _sound("wav head, then nothing", FaultCode.MEDIA_UNREADABLE, written(b"RIFF\xff\xff\xff\x7fWAVE" + bytes(60))),
    _sound("flac with noise in its frames", FaultCode.MEDIA_UNREADABLE, patched(_noisy_flac, noise_in_the_middle)),
    _sound("longer than allowed", FaultCode.MEDIA_TOO_LONG, written(wav(_noise(25)))),
    _sound("flac bomb: minutes of silence in few bytes", FaultCode.MEDIA_TOO_LONG, _silent_flac),
]
