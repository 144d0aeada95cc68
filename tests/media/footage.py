"""Footage made by code: every frame carries its number, every sound a click at a known sample."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

BITS = 10
BLOCK = 16
WIDTH, HEIGHT = BITS * BLOCK, 96


def numbered_frame(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> Pixels:
    """HWC uint8 BGR: the number as black and white blocks along the top, a red corner at the lower right."""
    pixels = np.full((height, width, 3), 90, dtype=np.uint8)
    for bit in range(BITS):
        pixels[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 16
    pixels[-BLOCK * 2 :, -BLOCK * 2 :] = (30, 30, 220)
    return pixels


def number_in(pixels: Pixels) -> int:
    """Read the number of an upright frame."""
    blocks = (pixels[BLOCK // 2, bit * BLOCK + BLOCK // 2].mean() for bit in range(BITS))
    return sum(1 << bit for bit, level in enumerate(blocks) if level > 125)


def write_video(  # noqa: PLR0913  # each of these is a way in which footage differs
    path: Path,
    frames: Iterable[Pixels],
    *,
    fps: Fraction = Fraction(25),
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    rotation: int = 0,
    container: str = "mp4",
    time_base: Fraction | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames at `fps`, or at `times` (seconds) where the rate varies."""
    with av.open(str(path), "w", format=container, options=container_options) as output:
        stream: VideoStream | None = None
        for number, pixels in enumerate(frames):
            if stream is None:
                settings = options or {"preset": "ultrafast"}
                stream = cast("VideoStream", output.add_stream(codec, rate=fps, options=settings))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = time_base or (1 / fps if times is None else Fraction(1, 90_000))
                if rotation:
                    stream.set_display_rotation(rotation)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
            seconds = number / fps if times is None else times[number]
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(seconds / frame.time_base)
            output.mux(stream.encode(frame))
        assert stream is not None
        output.mux(stream.encode(None))
    return path


def write_numbered(path: Path, count: int, **how: Any) -> Path:  # noqa: ANN401  # passed on to write_video
    return write_video(path, map(numbered_frame, range(count)), **how)


def write_sound(  # noqa: PLR0913  # each of these is a way in which sound differs
    path: Path,
    samples: NDArray[np.float32],
    *,
    rate: int = 48_000,
    codec: str = "pcm_s16le",
    layout: str = "mono",
    container: str = "wav",
    picture: Path | None = None,
) -> Path:
    """Encode (channels, n) float samples, with a PNG or JPEG as cover where one is given."""
    with av.open(str(path), "w", format=container) as output:
        stream = cast("AudioStream", output.add_stream(codec, rate=rate, layout=layout))
        cover = None
        if picture is not None:
            with av.open(str(picture)) as still:
                cover = next(packet for packet in still.demux(video=0) if packet.size)
                target = output.add_stream_from_template(still.streams.video[0])
                target.disposition = av.stream.Disposition.attached_pic
                cover.stream = target
                cover.pts = cover.dts = 0
                output.start_encoding()
                output.mux(cover)
        block = stream.codec_context.frame_size or 1024
        for start in range(0, samples.shape[1], block):
            piece = np.ascontiguousarray(samples[:, start : start + block])
            frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_beside(path: Path, samples: NDArray[np.float32], *, late_by: float) -> Path:
    """Matroska with 50 numbered frames from second 1 on, and mono sound that starts `late_by` seconds after them."""
    with av.open(str(path), "w", format="matroska") as output:
        video = output.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "0"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for number in range(50):
            picture = av.VideoFrame.from_ndarray(numbered_frame(number), format="bgr24")
            picture.pts, picture.time_base = 25 + number, Fraction(1, 25)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        for start in range(0, samples.shape[1], 1024):
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "mono")
            sound.sample_rate, sound.time_base = 48_000, Fraction(1, 48_000)
            sound.pts = round((1 + late_by) * 48_000) + start
            output.mux(audio.encode(sound))
        output.mux(audio.encode(None))
    return path


def click(*, at: int, length: int, channels: int = 1) -> NDArray[np.float32]:
    """Silence with one full sample at `at`."""
    samples = np.zeros((channels, length), dtype=np.float32)
    samples[:, at] = 0.9
    return samples


def tone(*, seconds: float, rate: int = 48_000, channels: int = 1, hertz: float = 440.0) -> NDArray[np.float32]:
    clock = np.arange(round(seconds * rate)) / rate
    wave = (0.4 * np.sin(2 * np.pi * hertz * clock)).astype(np.float32)
    return np.tile(wave, (channels, 1))
