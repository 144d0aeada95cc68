"""Videos of every kind that people send."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import av

from gpu_tasks.contract.gate import ChangeKind
from tests.media.clocks import losing, write_stamped
from tests.media.corpus.making import (
    AAC,
    COMMENT,
    FAST,
    PCM,
    PLAIN,
    QUIET_X265,
    SURROUND,
    VP9,
    at_times,
    clip,
    made_apart,
    patched,
    spliced,
    two_pictures,
    video,
)
from tests.media.corpus.specimen import AS_IT_IS, changed
from tests.media.footage import tone


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


_JITTER = [Fraction(n, 25) + Fraction((-1) ** n, 200) + Fraction(1, 200) for n in range(20)]
_SLOWING = [Fraction(n, 30) for n in range(20)] + [Fraction(20, 30) + Fraction(n, 10) for n in range(8)]
_TRIMMED = [Fraction(n - 10, 25) for n in range(30)]
# Root's SVT-AV1 turns its process into a real-time one, which then starves all others.
_AV1 = partial(clip, codec="libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"})
_HDR = partial(clip, codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265)

_GAP = partial(write_stamped, samples=tone(seconds=4), stamp=losing(1.5, 2.5))

CONFORMING = [
    video("mp4, H.264, 25 fps", AS_IT_IS),
    video("mp4, 23.976 fps", AS_IT_IS, fps=Fraction(24000, 1001)),
    video("mp4, 29.97 fps, B-frames", AS_IT_IS, fps=Fraction(30000, 1001), options={"preset": "medium"}, count=30),
    video("mp4, 60 fps", AS_IT_IS, fps=Fraction(60)),
    video("mov, H.264", AS_IT_IS, container="mov"),
    video(
        "mov, ProRes 4:2:2, 10 bits", AS_IT_IS, codec="prores_ks", container="mov", pix_fmt="yuv422p10le", options={}
    ),
    video("mov, MJPEG", AS_IT_IS, codec="mjpeg", container="mov", pix_fmt="yuvj420p", options={}),
    video("mkv, H.264", AS_IT_IS, container="matroska"),
    video("mkv, live: no index, no length", AS_IT_IS, _live),
    video("webm, VP8", AS_IT_IS, codec="libvpx", container="webm", options=VP9),
    video("webm, VP9", AS_IT_IS, codec="libvpx-vp9", container="webm", options=VP9),
    video("mp4, AV1", AS_IT_IS, made_apart(_AV1)),
    video("mp4, HEVC", AS_IT_IS, codec="libx265", options=QUIET_X265),
    video("mp4, MPEG-4 part 2", AS_IT_IS, codec="mpeg4", options={}),
    video("mp4, full range", AS_IT_IS, pix_fmt="yuvj420p"),
    video("mp4, SDR in 10 bits", AS_IT_IS, codec="libx265", pix_fmt="yuv420p10le", options=QUIET_X265),
    video("mp4, one frame", AS_IT_IS, count=1),
    video("mp4, a keyframe every 10 seconds", AS_IT_IS, count=301, options={**FAST, "g": "250"}),
    video("mp4, jitter of 5 ms on a steady rate", AS_IT_IS, lambda path: at_times(path, _JITTER)),
    video("mp4, trimmed by an edit list", AS_IT_IS, lambda path: at_times(path, _TRIMMED)),
    video("mp4 with AAC", AS_IT_IS, tracks=(AAC,)),
    video("mp4 with 5.1 AAC", changed(ChangeKind.MIXED_DOWN), tracks=(SURROUND,)),
    video("mp4, commentary before dialogue", changed(ChangeKind.TRACK_CHOSEN), tracks=(COMMENT, AAC)),
    video("mp4, two video streams", changed(ChangeKind.PICTURE_CHOSEN), two_pictures),
    video("mp4, AAC with a gap of a second", changed(ChangeKind.GAPS_FILLED), _GAP),
    video(
        "mkv, Opus with a gap of a second",
        changed(ChangeKind.GAPS_FILLED),
        partial(_GAP, codec="libopus", container="matroska"),
    ),
    video("mp4 named like a list of files", AS_IT_IS, PLAIN, file_name="concat:a.mp4|b.mp4"),
    video("mp4 named like a row of pictures", AS_IT_IS, PLAIN, file_name="frame%03d.png"),
    video("mp4 named like a playlist", AS_IT_IS, PLAIN, file_name="clip.m3u8"),
    video("mp4 named like an address", AS_IT_IS, PLAIN, file_name="http:"),
    video("mp4 with quotes, spaces and dots in its name", AS_IT_IS, PLAIN, file_name="a 'b\"; c..mp4"),
    video("mp4 with a ZIP behind it", AS_IT_IS, patched(PLAIN, lambda content: content + b"PK\x03\x04" + bytes(200))),
]

NORMALISED = [
    video("mp4 turned by 90 degrees", changed(ChangeKind.TURNED), turn=(90, False, False)),
    video("mp4 turned by 180 degrees", changed(ChangeKind.TURNED), turn=(180, False, False)),
    video(
        "mp4 turned by 270 degrees, 5.1 sound",
        changed(ChangeKind.TURNED, ChangeKind.MIXED_DOWN),
        turn=(270, False, False),
        tracks=(SURROUND,),
    ),
    video(
        "mov turned by 90 degrees, PCM sound",
        changed(ChangeKind.TURNED),
        container="mov",
        turn=(90, False, False),
        tracks=(PCM,),
    ),
    video("mp4 mirrored left-right (selfie)", changed(ChangeKind.MIRRORED), turn=(0, True, False)),
    video("mp4 mirrored upside-down", changed(ChangeKind.MIRRORED), turn=(0, False, True)),
    video("mp4 turned and mirrored", changed(ChangeKind.MIRRORED), turn=(90, True, False)),
    video("mp4, 30 then 10 fps", changed(ChangeKind.RATE_MADE_CONSTANT), lambda path: at_times(path, _SLOWING)),
    video(
        "mp4 with dropped frames",
        changed(ChangeKind.RATE_MADE_CONSTANT),
        lambda path: at_times(path, [Fraction(n, 25) for n in range(30) if n % 7]),
    ),
    video(
        "mp4, last frame shown for 3 seconds",
        changed(ChangeKind.RATE_MADE_CONSTANT),
        partial(write_stamped, samples=tone(seconds=7), last_seconds=Fraction(3)),
    ),
    video(
        "mov, 30 then 10 fps, sound to the end",
        changed(ChangeKind.RATE_MADE_CONSTANT),
        partial(write_stamped, samples=tone(seconds=1.4667), times=_SLOWING, container="mov"),
    ),
    video("mp4, 120 fps", changed(ChangeKind.RATE_REDUCED), fps=Fraction(120), count=24),
    video("mp4, odd width", changed(ChangeKind.MADE_EVEN), size=(97, 64), pix_fmt="yuv444p"),
    video(
        "mp4, odd height, turned",
        changed(ChangeKind.MADE_EVEN, ChangeKind.TURNED),
        size=(96, 65),
        pix_fmt="yuv444p",
        turn=(90, False, False),
    ),
    video("mp4, pixels 16:11", changed(ChangeKind.PIXELS_SQUARED), pixel_shape=Fraction(16, 11)),
    video("mp4, pixels 1:2", changed(ChangeKind.PIXELS_SQUARED), pixel_shape=Fraction(1, 2)),
    video("mp4, more pixels than engines use", changed(ChangeKind.SCALED_DOWN), size=(640, 360), count=3),
    video("mp4, HLG (phone HDR)", changed(ChangeKind.TONE_MAPPED), partial(_HDR, colours=(9, 9, 18))),
    video("mp4, PQ (HDR10)", changed(ChangeKind.TONE_MAPPED), partial(_HDR, colours=(9, 9, 16))),
    video("mp4, BT.2020 without HDR", changed(ChangeKind.TONE_MAPPED), partial(_HDR, colours=(9, 9, 14))),
    video("mp4, interlaced", changed(ChangeKind.DEINTERLACED), interlaced=True),
    video(
        "mp4, interlaced from its second half on",
        changed(ChangeKind.DEINTERLACED),
        partial(spliced, parts=({}, {"interlaced": True})),
    ),
    video(
        "MPEG-TS, interlaced from its second half on",
        changed(ChangeKind.DEINTERLACED, ChangeKind.REPACKED),
        partial(spliced, parts=({}, {"interlaced": True}), container="mpegts"),
    ),
    video(
        "mp4 turned by 90 degrees, AAC with a gap of a second",
        changed(ChangeKind.TURNED, ChangeKind.GAPS_FILLED),
        partial(_GAP, turn=90),
    ),
    video("avi, MPEG-4", changed(ChangeKind.REPACKED), codec="mpeg4", container="avi", options={}),
    video(
        "avi, MPEG-4, PCM sound",
        changed(ChangeKind.REPACKED),
        codec="mpeg4",
        container="avi",
        options={},
        tracks=(PCM,),
    ),
    video(
        "mp4, one keyframe for 12 seconds",
        changed(ChangeKind.KEYFRAMES_ADDED),
        count=301,
        options={**FAST, "g": "9999"},
    ),
    video("MPEG-TS, H.264, AAC", changed(ChangeKind.REPACKED), container="mpegts", tracks=(AAC,)),
    video(
        "MPEG-TS, interlaced MPEG-2",
        changed(ChangeKind.REPACKED, ChangeKind.DEINTERLACED),
        codec="mpeg2video",
        container="mpegts",
        options={},
        interlaced=True,
    ),
]
