"""How the files of the corpus are made: clips in every respect in which footage differs, and damage to them."""

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from gpu_tasks.contract.gate import MediaKind
from tests.media.corpus.specimen import Maker, Specimen, Verdict
from tests.media.footage import numbered_frame, tone, write_sound, write_video

WIDTH, HEIGHT = 96, 64
FAST = {"preset": "ultrafast"}
QUIET_X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
# No reordering: a packet's place in the file is its place in time.
_IN_BAND = {"preset": "ultrafast", "bf": "0", "tune": "zerolatency"}
_TURN_MESSAGE = b"\0\0\0\1\x06\x2f\x03\x08\x00\x09\x80"
FASTSTART = {"movflags": "+faststart"}

AAC = ("aac", "stereo", Disposition.default)
COMMENT = ("aac", "stereo", Disposition.comment)
SURROUND = ("aac", "5.1", Disposition.default)
PCM = ("pcm_s16le", "stereo", Disposition.default)


def clip(  # noqa: PLR0913  # each of these is a way in which footage differs
    path: Path,
    *,
    codec: str = "libx264",
    container: str = "mp4",
    count: int = 10,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    fps: Fraction = Fraction(25),
    colours: tuple[int, int, int] | None = None,
    pixel_shape: Fraction | None = None,
    turn: tuple[float, bool, bool] | None = None,
    tracks: tuple[tuple[str, str, Disposition], ...] = (),
    silent_streams: int = 0,
    interlaced: bool = False,
) -> Path:
    """Encode grey frames with a bright square; `colours` are matrix, primaries and transfer by H.273.

    `turn` is degrees, mirrored left-right, mirrored upside-down; `tracks` are codec, layout and disposition.
    """
    width, height = size
    with av.open(str(path), "w", format=container, options=FASTSTART if container == "mp4" else None) as output:
        stream = cast("VideoStream", output.add_stream(codec, rate=fps, options=options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if colours is not None:
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc = colours
        if pixel_shape is not None:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        if interlaced:
            stream.codec_context.flags |= 1 << 18 | 1 << 29  # AV_CODEC_FLAG_INTERLACED_DCT and _ME of avcodec.h
        if turn is not None:
            degrees, left_right, upside_down = turn
            stream.set_display_rotation(degrees, hflip=left_right, vflip=upside_down)
        sounds = [_track(output, *track) for track in tracks]
        for _ in range(silent_streams):
            _track(output, "pcm_s16le" if container != "mp4" else "aac", "mono", Disposition(0))
        pixels = np.full((height, width, 3), 110, dtype=np.uint8)
        for number in range(count):
            pixels[8:24, 8 + number % 8 : 24 + number % 8] = 200
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, 1 / fps
            if colours is not None:
                frame.colorspace, frame.color_primaries, frame.color_trc = colours
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        for sound in sounds:
            _fill(output, sound, seconds=float(count / fps))
    return path


def _track(output: av.container.OutputContainer, codec: str, layout: str, disposition: Disposition) -> AudioStream:
    track = cast("AudioStream", output.add_stream(codec, rate=48_000, layout=layout))
    track.disposition = disposition
    return track


def _fill(output: av.container.OutputContainer, track: AudioStream, *, seconds: float) -> None:
    context = track.codec_context
    samples = tone(seconds=seconds, channels=context.layout.nb_channels)
    block = context.frame_size or 1024
    resampler = av.AudioResampler(format=context.format.name, layout=context.layout.name, rate=48_000)
    for start in range(0, samples.shape[1], block):
        piece = np.ascontiguousarray(samples[:, start : start + block])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=context.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        for ready in resampler.resample(frame):
            output.mux(track.encode(ready))
    output.mux(track.encode(None))


def at_times(path: Path, times: list[Fraction]) -> Path:
    return write_video(path, (numbered_frame(n) for n in range(len(times))), times=times)


def covered(path: Path, *, codec: str, container: str) -> None:
    picture = path.with_suffix(".png")
    cv2.imwrite(str(picture), numbered_frame(3))
    write_sound(path, tone(seconds=0.5), codec=codec, container=container, picture=picture)


def patched(make: Maker, change: Callable[[bytes], bytes]) -> Maker:
    """Make a file, then change its bytes."""

    def make_patched(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return make_patched


def made_apart(make: Maker) -> Maker:
    """Make a file in a process of its own, for encoders that leave their process changed."""

    def make_apart(path: Path) -> None:
        child = get_context("spawn").Process(target=make, args=(path,))
        child.start()
        child.join(timeout=60)
        assert child.exitcode == 0, f"the process that was to make {path.name} ended with {child.exitcode}"

    return make_apart


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def noise_in_the_middle(content: bytes) -> bytes:
    """Overwrite a quarter of a file, behind its head, with noise."""
    start, length = len(content) // 2, len(content) // 4
    return content[:start] + np.random.default_rng(7).bytes(length) + content[start + length :]


def in_another_file(other: Path) -> Callable[[bytes], bytes]:
    """Say that the samples lie in another file, as reference movies of QuickTime do: by an alias record."""
    folder = str(other).encode()
    record = bytes(10) + b"\0" * 28 + bytes(12) + b"\0" * 64 + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(folder)) + folder + b"\0" * (len(folder) % 2) + struct.pack(">HH", 0xFFFF, 0)

    def change(content: bytes) -> bytes:
        place = content.index(b"url ", content.index(b"dref")) - 4
        entry = struct.pack(">I", 12 + len(record)) + b"alis" + bytes(4) + record
        grown = bytearray(content[:place] + entry + content[place + 12 :])
        # The index stands behind the frames here, so that only the boxes around the record grow.
        for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
            start = content.index(box) - 4
            size = struct.unpack_from(">I", content, start)[0] + len(entry) - 12
            struct.pack_into(">I", grown, start, size)
        return bytes(grown)

    return change


def spliced(path: Path, *, parts: Sequence[dict[str, Any]], container: str = "mp4") -> Path:
    """Write clips into one stream, one behind the other, each with parameter sets of its own among its frames."""
    with av.open(str(path), "w", format=container) as output:
        track = output.add_stream("libx264", rate=25, options=_IN_BAND)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        start = 0
        for part in parts:
            one = clip(path.with_suffix(f".{start}"), container="mpegts", options=_IN_BAND, **part)
            with av.open(str(one)) as source:
                packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
            for number, packet in enumerate(packets, start):
                packet.stream, packet.time_base, packet.pts, packet.dts = track, Fraction(1, 25), number, number
                packet.duration = 1
                output.mux(packet)
            start += len(packets)
    return path


def two_pictures(path: Path) -> None:
    """Write two video streams; the second one is the default."""
    with av.open(str(path), "w", format="mp4") as output:
        tracks = [output.add_stream("libx264", rate=25, options=_IN_BAND) for _ in range(2)]
        for place, track in enumerate(tracks):
            track.width, track.height, track.pix_fmt = WIDTH * (1 + place), HEIGHT, "yuv420p"
            track.disposition = Disposition.default if place else Disposition(0)
        for number in range(10):
            for track in tracks:
                frame = av.VideoFrame.from_ndarray(numbered_frame(number, width=track.width), format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                output.mux(track.encode(frame))
        for track in tracks:
            output.mux(track.encode(None))


def turned_midway(path: Path, *, container: str = "mp4") -> None:
    """Write 20 frames, the last ten with a message that turns them by 90 degrees (H.264, D.2.27)."""
    with av.open(str(path), "w", format=container) as output:
        track = output.add_stream("libx264", rate=25, options=_IN_BAND)
        track.width, track.height, track.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, width=WIDTH, height=HEIGHT), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in track.encode(frame):
                output.mux(packet if number < 10 else _behind(_TURN_MESSAGE, packet, track))
        output.mux(track.encode(None))


def _behind(message: bytes, packet: "av.Packet[VideoStream]", track: VideoStream) -> "av.Packet[VideoStream]":
    made = cast("av.Packet[VideoStream]", av.Packet(message + bytes(packet)))
    made.pts, made.dts, made.time_base, made.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    made.is_keyframe, made.stream = packet.is_keyframe, track
    return made


def video(name: str, verdict: Verdict, make: Maker | None = None, /, **how: Any) -> Specimen:  # noqa: ANN401  # passed on
    """Return the specimen of a clip, or of what `make` makes."""
    own = {key: how.pop(key) for key in ("file_name", "policy") if key in how}
    return Specimen(name, MediaKind.VIDEO, make or partial(clip, **{"options": FAST, **how}), verdict, **own)


PLAIN: Maker = partial(clip, options=FAST)
