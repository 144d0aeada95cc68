"""Videos of every kind that people send, and some that nobody does by accident."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import ChangeKind, MediaKind
from tests.media.corpus.specimen import AS_IT_IS, NO_HDR, Specimen, Verdict, changed, written
from tests.media.footage import numbered_frame, tone, write_sound, write_video

WIDTH, HEIGHT = 96, 64
FAST = {"preset": "ultrafast"}
QUIET_X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
FASTSTART = {"movflags": "+faststart"}

Maker = Callable[[Path], object]


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


def patched(make: Maker, change: Callable[[bytes], bytes]) -> Maker:
    """Make a file, then change its bytes."""

    def make_patched(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return make_patched


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


def _stated_size(width: int, height: int) -> Callable[[bytes], bytes]:
    """State another frame size in the sample description (ISO/IEC 14496-12, 8.5.2)."""

    def change(content: bytes) -> bytes:
        place = content.index(b"avc1", content.index(b"stsd")) + 4 + 24
        return content[:place] + struct.pack(">HH", width, height) + content[place + 4 :]

    return change


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


def _many_samples(content: bytes) -> bytes:
    """Claim four billion samples in the table of times."""
    place = content.index(b"stts") + 8
    return content[:place] + struct.pack(">III", 1, 0xFFFFFFFF, 1) + content[place + 12 :]


def noise_in_the_middle(content: bytes) -> bytes:
    """Overwrite a quarter of a file, behind its head, with noise."""
    start, length = len(content) // 2, len(content) // 4
    return content[:start] + np.random.default_rng(7).bytes(length) + content[start + length :]


def _nested(depth: int) -> bytes:
    """Boxes in boxes."""
    box = b""
    for _ in range(depth):
        box = struct.pack(">I", 8 + len(box)) + b"moov" + box
    return b"\0\0\0\x14ftypisom\0\0\0\0isom" + box


def _two_sizes(path: Path) -> None:
    first, second = path.with_suffix(".1"), path.with_suffix(".2")
    clip(first, container="mpegts", options=FAST)
    clip(second, container="mpegts", options=FAST, size=(128, 96))
    path.write_bytes(first.read_bytes() + second.read_bytes())


def _linked(path: Path) -> None:
    clip(path.with_suffix(".real"), options=FAST)
    path.symlink_to(path.with_suffix(".real"))


def covered(path: Path, *, codec: str, container: str) -> None:
    picture = path.with_suffix(".png")
    av.VideoFrame.from_ndarray(numbered_frame(3), format="bgr24").to_image().save(picture)
    write_sound(path, tone(seconds=0.5), codec=codec, container=container, picture=picture)


def _live(path: Path) -> None:
    """Write as to a pipe: no index, no length."""
    clip(path.with_suffix(".mkv"), container="matroska", options=FAST)
    with (
        av.open(str(path.with_suffix(".mkv"))) as source,
        av.open(str(path), "w", format="matroska", options={"live": "1"}) as output,
    ):
        track = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                output.mux(packet)


def _video(name: str, verdict: Verdict, make: Maker | None = None, /, **how: Any) -> Specimen:  # noqa: ANN401  # passed on
    own = {key: how.pop(key) for key in ("file_name", "policy") if key in how}
    return Specimen(name, MediaKind.VIDEO, make or partial(clip, **{"options": FAST, **how}), verdict, **own)


_JITTER = [Fraction(n, 25) + Fraction((-1) ** n, 200) + Fraction(1, 200) for n in range(20)]
_PLAIN: Maker = partial(clip, options=FAST)
_AAC = ("aac", "stereo", Disposition.default)
_COMMENT = ("aac", "stereo", Disposition.comment)
_SURROUND = ("aac", "5.1", Disposition.default)

CONFORMING = [
    _video("mp4, H.264, 25 fps", AS_IT_IS),
    _video("mp4, 23.976 fps", AS_IT_IS, fps=Fraction(24000, 1001)),
    _video("mp4, 29.97 fps, B-frames", AS_IT_IS, fps=Fraction(30000, 1001), options={"preset": "medium"}, count=30),
    _video("mp4, 60 fps", AS_IT_IS, fps=Fraction(60)),
    _video("mov, H.264", AS_IT_IS, container="mov"),
    _video("mov, ProRes 4:2:2, 10 bits", AS_IT_IS, codec="prores_ks", container="mov", pix_fmt="yuv422p10le", options={}),
    _video("mov, MJPEG", AS_IT_IS, codec="mjpeg", container="mov", pix_fmt="yuvj420p", options={}),
    _video("mkv, H.264", AS_IT_IS, container="matroska"),
    _video("mkv, live: no index, no length", AS_IT_IS, _live),
    _video("webm, VP8", AS_IT_IS, codec="libvpx", container="webm", options=VP9),
    _video("webm, VP9", AS_IT_IS, codec="libvpx-vp9", container="webm", options=VP9),
    _video("mp4, AV1", AS_IT_IS, codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"}),
    _video("mp4, HEVC", AS_IT_IS, codec="libx265", options=QUIET_X265),
    _video("mp4, MPEG-4 part 2", AS_IT_IS, codec="mpeg4", options={}),
    _video("mp4, full range", AS_IT_IS, pix_fmt="yuvj420p"),
    _video("mp4, SDR in 10 bits", AS_IT_IS, codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265),
    _video("mp4, one frame", AS_IT_IS, count=1),
    _video("mp4, jitter of 5 ms on a steady rate", AS_IT_IS, lambda path: at_times(path, _JITTER)),
    _video("mp4, trimmed by an edit list", AS_IT_IS, lambda path: at_times(path, [Fraction(n - 10, 25) for n in range(30)])),
    _video("mp4 with AAC", AS_IT_IS, tracks=(_AAC,)),
    _video("mp4 with 5.1 AAC", changed(ChangeKind.MIXED_DOWN), tracks=(_SURROUND,)),
    _video("mp4, commentary before dialogue", changed(ChangeKind.TRACK_CHOSEN), tracks=(_COMMENT, _AAC)),
    _video("mp4 named like a list of files", AS_IT_IS, _PLAIN, file_name="concat:a.mp4|b.mp4"),
    _video("mp4 named like a row of pictures", AS_IT_IS, _PLAIN, file_name="frame%03d.png"),
    _video("mp4 named like a playlist", AS_IT_IS, _PLAIN, file_name="clip.m3u8"),
    _video("mp4 named like an address", AS_IT_IS, _PLAIN, file_name="http:"),
    _video("mp4 with quotes, spaces and dots in its name", AS_IT_IS, _PLAIN, file_name="a 'b\"; c..mp4"),
    _video("mp4 with a ZIP behind it", AS_IT_IS, patched(_PLAIN, lambda content: content + b"PK\x03\x04" + bytes(200))),
]  # fmt: skip

NORMALISED = [
    _video("mp4 turned by 90 degrees", changed(ChangeKind.TURNED), turn=(90, False, False)),
    _video("mp4 turned by 180 degrees", changed(ChangeKind.TURNED), turn=(180, False, False)),
    _video("mp4 turned by 270 degrees, 5.1 sound", changed(ChangeKind.TURNED, ChangeKind.MIXED_DOWN), turn=(270, False, False), tracks=(_SURROUND,)),
    _video("mov turned by 90 degrees, PCM sound", changed(ChangeKind.TURNED), container="mov", turn=(90, False, False), tracks=(("pcm_s16le", "stereo", Disposition.default),)),
    _video("mp4 mirrored left-right (selfie)", changed(ChangeKind.MIRRORED), turn=(0, True, False)),
    _video("mp4 mirrored upside-down", changed(ChangeKind.MIRRORED), turn=(0, False, True)),
    _video("mp4 turned and mirrored", changed(ChangeKind.MIRRORED), turn=(90, True, False)),
    _video("mp4, 30 then 10 fps", changed(ChangeKind.RATE_MADE_CONSTANT), lambda path: at_times(path, [Fraction(n, 30) for n in range(20)] + [Fraction(20, 30) + Fraction(n, 10) for n in range(8)])),
    _video("mp4 with dropped frames", changed(ChangeKind.RATE_MADE_CONSTANT), lambda path: at_times(path, [Fraction(n, 25) for n in range(30) if n % 7])),
    _video("mp4, 120 fps", changed(ChangeKind.RATE_REDUCED), fps=Fraction(120), count=24),
    _video("mp4, odd width", changed(ChangeKind.MADE_EVEN), size=(97, 64), pix_fmt="yuv444p"),
    _video("mp4, odd height, turned", changed(ChangeKind.MADE_EVEN, ChangeKind.TURNED), size=(96, 65), pix_fmt="yuv444p", turn=(90, False, False)),
    _video("mp4, pixels 16:11", changed(ChangeKind.PIXELS_SQUARED), pixel_shape=Fraction(16, 11)),
    _video("mp4, pixels 1:2", changed(ChangeKind.PIXELS_SQUARED), pixel_shape=Fraction(1, 2)),
    _video("mp4, more pixels than engines use", changed(ChangeKind.SCALED_DOWN), size=(640, 360), count=3),
    _video("mp4, HLG (phone HDR)", changed(ChangeKind.TONE_MAPPED), codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265, colours=(9, 9, 18)),
    _video("mp4, PQ (HDR10)", changed(ChangeKind.TONE_MAPPED), codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265, colours=(9, 9, 16)),
    _video("mp4, BT.2020 without HDR", changed(ChangeKind.TONE_MAPPED), codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265, colours=(9, 9, 14)),
    _video("mp4, interlaced", changed(ChangeKind.DEINTERLACED), interlaced=True),
    _video("avi, MPEG-4", changed(ChangeKind.REPACKED), codec="mpeg4", container="avi", options={}),
    _video("avi, MPEG-4, PCM sound", changed(ChangeKind.REPACKED), codec="mpeg4", container="avi", options={}, tracks=(("pcm_s16le", "stereo", Disposition.default),)),
    _video("MPEG-TS, H.264, AAC", changed(ChangeKind.REPACKED), container="mpegts", tracks=(_AAC,)),
    _video("MPEG-TS, interlaced MPEG-2", changed(ChangeKind.REPACKED, ChangeKind.DEINTERLACED), codec="mpeg2video", container="mpegts", options={}, interlaced=True),
]  # fmt: skip

REFUSED = [
    _video("mp4, HLG where HDR is refused", FaultCode.MEDIA_UNSUPPORTED, codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265, colours=(9, 9, 18), policy=NO_HDR),
    _video("zero bytes", FaultCode.OBJECT_EMPTY, written(b"")),
    _video("more bytes than allowed", FaultCode.OBJECT_TOO_LARGE, patched(_PLAIN, lambda content: content + bytes(3_000_000))),
    _video("one byte", FaultCode.MEDIA_UNSUPPORTED, written(b"\0")),
    _video("text named .mp4", FaultCode.MEDIA_UNSUPPORTED, written(b"this is no video\n" * 40), file_name="a.mp4"),
    _video("a web page named .mp4", FaultCode.MEDIA_UNSUPPORTED, written(b"<!doctype html><title>404</title>" * 20), file_name="a.mp4"),
    _video("an ELF program", FaultCode.MEDIA_UNSUPPORTED, written(b"\x7fELF\x02\x01\x01" + bytes(600))),
    _video("a ZIP archive", FaultCode.MEDIA_UNSUPPORTED, written(b"PK\x03\x04" + bytes(600))),
    _video("a PNG as video", FaultCode.MEDIA_UNSUPPORTED, written(b"\x89PNG\r\n\x1a\n" + bytes(600))),
    _video("a GIF as video", FaultCode.MEDIA_UNSUPPORTED, written(b"GIF89a" + bytes(600))),
    _video("a HEIC as video", FaultCode.MEDIA_UNSUPPORTED, written(b"\0\0\0\x18ftypheic" + bytes(600))),
    _video("a symbolic link", FaultCode.MEDIA_UNSUPPORTED, _linked),
    _video("a folder", FaultCode.MEDIA_UNSUPPORTED, Path.mkdir),
    _video("a named pipe", FaultCode.MEDIA_UNSUPPORTED, os.mkfifo),
    _video("nothing under the name", FaultCode.OBJECT_MISSING, lambda _path: None),
    _video("a WAV as video", FaultCode.NO_VIDEO_STREAM, lambda path: write_sound(path, tone(seconds=0.3))),
    _video("an MP3 with a cover as video", FaultCode.NO_VIDEO_STREAM, lambda path: covered(path, codec="libmp3lame", container="mp3")),
    _video("an M4A with a cover as video", FaultCode.NO_VIDEO_STREAM, lambda path: covered(path, codec="aac", container="mp4")),
    _video("mp4 cut off after 30 %", FaultCode.MEDIA_UNREADABLE, patched(_PLAIN, cut(0.3))),
    _video("mp4 cut off after 95 %", FaultCode.MEDIA_UNREADABLE, patched(_PLAIN, cut(0.95))),
    _video("mp4 whose index was never written", FaultCode.MEDIA_UNREADABLE, patched(_PLAIN, lambda content: content.replace(b"moov", b"xoov"))),
    _video("mp4 head, then nothing", FaultCode.MEDIA_UNREADABLE, written(b"\0\0\0\x18ftypisom" + bytes(600))),
    _video("mkv head, then nothing", FaultCode.MEDIA_UNREADABLE, written(b"\x1aE\xdf\xa3" + bytes(600))),
    _video("avi head, then nothing", FaultCode.MEDIA_UNREADABLE, written(b"RIFF\xff\xff\xff\x7fAVI " + bytes(600))),
    _video("mp4 with noise in its frames", FaultCode.MEDIA_UNREADABLE, patched(partial(clip, options={"crf": "1"}, count=25), noise_in_the_middle)),
    _video("mp4 of 10 000 boxes in one another", FaultCode.MEDIA_UNREADABLE, written(_nested(10_000))),
    _video("mp4 claiming four billion frames", FaultCode.MEDIA_UNSUPPORTED, patched(_PLAIN, _many_samples)),
    _video("mp4 whose frames lie in another file", FaultCode.MEDIA_UNREADABLE, patched(partial(clip, container="mov", options=FAST), in_another_file(Path("/etc/hostname")))),
    _video("longer than allowed", FaultCode.MEDIA_TOO_LONG, fps=Fraction(2), count=50),
    _video("30 frames over a day", FaultCode.MEDIA_UNSUPPORTED, lambda path: at_times(path, [Fraction(n * 2880) for n in range(30)])),
    _video("two frames, an hour apart", FaultCode.MEDIA_UNSUPPORTED, lambda path: at_times(path, [Fraction(0), Fraction(3600)])),
    _video("25 fps, then one frame an hour later", FaultCode.MEDIA_UNSUPPORTED, lambda path: at_times(path, [*(Fraction(n, 25) for n in range(20)), Fraction(3600)])),
    _video("1000 fps", FaultCode.MEDIA_UNSUPPORTED, fps=Fraction(1000), count=30),
    _video("one frame in two seconds", FaultCode.MEDIA_UNSUPPORTED, fps=Fraction(1, 2), count=5),
    _video("20 streams", FaultCode.MEDIA_UNSUPPORTED, container="matroska", silent_streams=19),
    _video("frames of 2048x1536", FaultCode.PICTURE_TOO_LARGE, size=(2048, 1536), count=1),
    _video("frames of 2048x1536 that claim to be 96x64", FaultCode.PICTURE_TOO_LARGE, patched(partial(clip, size=(2048, 1536), count=1, options=FAST), _stated_size(96, 64))),
    _video("small frames that claim to be 65535x65535", changed(ChangeKind.PIXELS_SQUARED), patched(_PLAIN, _stated_size(65535, 65535))),
    _video("frames of 16x16", FaultCode.MEDIA_UNSUPPORTED, size=(16, 16)),
    _video("frames that change size midway", FaultCode.MEDIA_UNSUPPORTED, _two_sizes),
    _video("pixels 30 times as wide as high", FaultCode.MEDIA_UNSUPPORTED, pixel_shape=Fraction(30)),
    _video("mkv, FFV1", FaultCode.MEDIA_UNSUPPORTED, codec="ffv1", container="matroska", options={}),
    _video("avi, raw frames", FaultCode.MEDIA_UNSUPPORTED, codec="rawvideo", container="avi", options={}),
    _video("mov, PNG frames", FaultCode.MEDIA_UNSUPPORTED, codec="png", container="mov", pix_fmt="rgb24", options={}),
    _video("flv, H.264", FaultCode.MEDIA_UNSUPPORTED, container="flv"),
    _video("asf, WMV", FaultCode.MEDIA_UNSUPPORTED, codec="wmv2", container="asf", options={}),
    _video("H.264 without a container", FaultCode.MEDIA_UNSUPPORTED, container="h264"),
]  # fmt: skip

VIDEOS = [*CONFORMING, *NORMALISED, *REFUSED]
