"""Videos that are refused: damaged, pretending, beyond a limit, or no videos at all."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import ChangeKind
from tests.media.corpus.making import (
    FAST,
    PLAIN,
    QUIET_X265,
    at_times,
    clip,
    covered,
    cut,
    in_another_file,
    noise_in_the_middle,
    patched,
    spliced,
    turned_midway,
    video,
)
from tests.media.corpus.specimen import NO_HDR, changed, written
from tests.media.footage import tone, write_sound


def _stated_size(width: int, height: int) -> Callable[[bytes], bytes]:
    """State another frame size in the sample description (ISO/IEC 14496-12, 8.5.2)."""

    def change(content: bytes) -> bytes:
        place = content.index(b"avc1", content.index(b"stsd")) + 4 + 24
        return content[:place] + struct.pack(">HH", width, height) + content[place + 4 :]

    return change


def _many_samples(content: bytes) -> bytes:
    """Claim four billion samples in the table of times."""
    place = content.index(b"stts") + 8
    return content[:place] + struct.pack(">III", 1, 0xFFFFFFFF, 1) + content[place + 12 :]


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


_UNSUPPORTED, _UNREADABLE = FaultCode.MEDIA_UNSUPPORTED, FaultCode.MEDIA_UNREADABLE
_THINLY = [Fraction(n * 2880) for n in range(30)]
_LATE_LAST = [*(Fraction(n, 25) for n in range(20)), Fraction(3600)]

REFUSED = [
    video(
        "mp4, HLG where HDR is refused",
        _UNSUPPORTED,
        codec="libx265",
        pix_fmt="yuv420p10le",
        options=QUIET_X265,
        colours=(9, 9, 18),
        policy=NO_HDR,
    ),
    video("zero bytes", FaultCode.OBJECT_EMPTY, written(b"")),
    video(
        "more bytes than allowed",
        FaultCode.OBJECT_TOO_LARGE,
        patched(PLAIN, lambda content: content + bytes(3_000_000)),
    ),
    video("one byte", _UNSUPPORTED, written(b"\0")),
    video("text named .mp4", _UNSUPPORTED, written(b"this is no video\n" * 40), file_name="a.mp4"),
    video("a web page named .mp4", _UNSUPPORTED, written(b"<!doctype html><title>404</title>" * 20), file_name="a.mp4"),
    video("an ELF program", _UNSUPPORTED, written(b"\x7fELF\x02\x01\x01" + bytes(600))),
    video("a ZIP archive", _UNSUPPORTED, written(b"PK\x03\x04" + bytes(600))),
    video("a PNG as video", _UNSUPPORTED, written(b"\x89PNG\r\n\x1a\n" + bytes(600))),
    video("a GIF as video", _UNSUPPORTED, written(b"GIF89a" + bytes(600))),
    video("a HEIC as video", _UNSUPPORTED, written(b"\0\0\0\x18ftypheic" + bytes(600))),
    video("a symbolic link", _UNSUPPORTED, _linked),
    video("a folder", _UNSUPPORTED, Path.mkdir),
    video("a named pipe", _UNSUPPORTED, os.mkfifo),
    video("nothing under the name", FaultCode.OBJECT_MISSING, lambda _path: None),
    video("a WAV as video", FaultCode.NO_VIDEO_STREAM, lambda path: write_sound(path, tone(seconds=0.3))),
    video(
        "an MP3 with a cover as video",
        FaultCode.NO_VIDEO_STREAM,
        lambda path: covered(path, codec="libmp3lame", container="mp3"),
    ),
    video(
        "an M4A with a cover as video",
        FaultCode.NO_VIDEO_STREAM,
        lambda path: covered(path, codec="aac", container="mp4"),
    ),
    video("mp4 cut off after 30 %", _UNREADABLE, patched(PLAIN, cut(0.3))),
    video("mp4 cut off after 95 %", _UNREADABLE, patched(PLAIN, cut(0.95))),
    video(
        "mp4 whose index was never written",
        _UNREADABLE,
        patched(PLAIN, lambda content: content.replace(b"moov", b"xoov")),
    ),
    video("mp4 head, then nothing", _UNREADABLE, written(b"\0\0\0\x18ftypisom" + bytes(600))),
    video("mkv head, then nothing", _UNREADABLE, written(b"\x1aE\xdf\xa3" + bytes(600))),
    video("avi head, then nothing", _UNREADABLE, written(b"RIFF\xff\xff\xff\x7fAVI " + bytes(600))),
    video(
        "mp4 with noise in its frames",
        _UNREADABLE,
        patched(partial(clip, options={"crf": "1"}, count=25), noise_in_the_middle),
    ),
    video("mp4 of 10 000 boxes in one another", _UNREADABLE, written(_nested(10_000))),
    video("mp4 claiming four billion frames", _UNSUPPORTED, patched(PLAIN, _many_samples)),
    video(
        "mp4 whose frames lie in another file",
        _UNREADABLE,
        patched(partial(clip, container="mov", options=FAST), in_another_file(Path("/etc/hostname"))),
    ),
    video("longer than allowed", FaultCode.MEDIA_TOO_LONG, fps=Fraction(2), count=50),
    video("30 frames over a day", _UNSUPPORTED, lambda path: at_times(path, _THINLY)),
    video("two frames, an hour apart", _UNSUPPORTED, lambda path: at_times(path, [Fraction(0), Fraction(3600)])),
    video("25 fps, then one frame an hour later", _UNSUPPORTED, lambda path: at_times(path, _LATE_LAST)),
    video("1000 fps", _UNSUPPORTED, fps=Fraction(1000), count=30),
    video("one frame in two seconds", _UNSUPPORTED, fps=Fraction(1, 2), count=5),
    video("20 streams", _UNSUPPORTED, container="matroska", silent_streams=19),
    video("frames of 2048x1536", FaultCode.PICTURE_TOO_LARGE, size=(2048, 1536), count=1),
    video(
        "frames of 2048x1536 that claim to be 96x64",
        FaultCode.PICTURE_TOO_LARGE,
        patched(partial(clip, size=(2048, 1536), count=1, options=FAST), _stated_size(96, 64)),
    ),
    video(
        "small frames that claim to be 65535x65535",
        changed(ChangeKind.PIXELS_SQUARED),
        patched(PLAIN, _stated_size(65535, 65535)),
    ),
    video("frames of 16x16", _UNSUPPORTED, size=(16, 16)),
    video("frames that change size midway", _UNSUPPORTED, _two_sizes),
    video("frames that turn midway", _UNSUPPORTED, turned_midway),
    video("frames that turn midway, MPEG-TS", _UNSUPPORTED, partial(turned_midway, container="mpegts")),
    video("frames that become HDR midway", _UNSUPPORTED, partial(spliced, parts=({}, {"colours": (9, 9, 18)}))),
    video(
        "frames that become BT.2020 midway, MPEG-TS",
        _UNSUPPORTED,
        partial(spliced, parts=({}, {"colours": (9, 9, 14)}), container="mpegts"),
    ),
    video("pixels 30 times as wide as high", _UNSUPPORTED, pixel_shape=Fraction(30)),
    video("mkv, FFV1", _UNSUPPORTED, codec="ffv1", container="matroska", options={}),
    video("avi, raw frames", _UNSUPPORTED, codec="rawvideo", container="avi", options={}),
    video("mov, PNG frames", _UNSUPPORTED, codec="png", container="mov", pix_fmt="rgb24", options={}),
    video("flv, H.264", _UNSUPPORTED, container="flv"),
    video("asf, WMV", _UNSUPPORTED, codec="wmv2", container="asf", options={}),
    video("H.264 without a container", _UNSUPPORTED, container="h264"),
]
