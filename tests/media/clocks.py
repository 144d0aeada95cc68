"""Clips whose clocks are not as simple as those of an encoder: sound with gaps, a last frame that is held."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tests.media.footage import HEIGHT, WIDTH, numbered_frame

RATE = 48_000
EVEN = tuple(Fraction(number, 25) for number in range(100))
Stamp = Callable[[float], float | None]


def write_stamped(  # noqa: PLR0913  # each of these is a way in which clocks differ
    path: Path,
    samples: NDArray[np.float32] | None,
    *,
    stamp: Stamp = lambda seconds: seconds,
    codec: str = "aac",
    container: str = "mp4",
    block: int = 1024,
    times: Sequence[Fraction] = EVEN,
    last_seconds: Fraction | None = None,
    turn: int = 0,
) -> Path:
    """Write numbered frames at `times`, and mono samples (1, n) at 48 kHz beside them, where there are any.

    `stamp` says which time is stated for the packet of a time, None where it is lost. `last_seconds` is how long the
    last frame is said to be shown.
    """
    with av.open(str(path), "w", format=container) as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = Fraction(1, 90_000)
        if turn:
            video.set_display_rotation(turn)
        audio = cast("AudioStream", output.add_stream(codec, rate=RATE, layout="mono")) if samples is not None else None
        pictures = _pictures(video, times)
        if last_seconds is not None:
            pictures[-1].duration = round(last_seconds / pictures[-1].time_base)
        sounds = _sounds(audio, samples, stamp, block) if audio is not None and samples is not None else []
        for packet in sorted([*pictures, *sounds], key=lambda packet: (packet.dts or 0) * packet.time_base):
            output.mux(packet)
    return path


def _pictures(video: VideoStream, times: Sequence[Fraction]) -> list[Any]:
    packets = []
    for number, seconds in enumerate(times):
        frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="bgr24")
        frame.time_base = video.codec_context.time_base
        frame.pts = round(seconds / frame.time_base)
        packets += video.encode(frame)
    return [*packets, *video.encode(None)]


def _sounds(audio: AudioStream, samples: NDArray[np.float32], stamp: Stamp, block: int) -> list[Any]:
    packets = []
    size = audio.codec_context.frame_size or block
    resampler = av.AudioResampler(format=audio.codec_context.format.name, layout="mono", rate=RATE)
    for start in range(0, samples.shape[1], size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + size]), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        for ready in resampler.resample(frame):
            packets += audio.encode(ready)
    packets += audio.encode(None)
    stamped = []
    for packet in packets:
        seconds = stamp(float((packet.pts or 0) * packet.time_base))
        if seconds is not None:
            packet.pts = packet.dts = round(Fraction(seconds) / packet.time_base)
            stamped.append(packet)
    return stamped


def losing(start: float, stop: float) -> Stamp:
    """Lose the packets from one second to another."""
    return lambda seconds: None if start <= seconds < stop else seconds
