"""Files that want another file or an address to be opened; each names a canary."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import MediaKind
from tests.media.corpus.making import FAST, clip, in_another_file, patched
from tests.media.corpus.specimen import Specimen, written

UNSUPPORTED = FaultCode.MEDIA_UNSUPPORTED


class Canary(NamedTuple):
    """A file and an address that nobody may touch."""

    file: Path
    address: str


def _playlist(entry: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{entry}\n#EXT-X-ENDLIST\n".encode()


def _dash(entry: str) -> bytes:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" bandwidth="1"><BaseURL>{entry}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    ).encode()


def _svg(entry: str) -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="{entry}"/></svg>'.encode()


def _postscript(entry: str) -> bytes:
    return f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n({entry}) (r) file closefile\nshowpage\n".encode()


def _behind_mp4(content: bytes) -> Callable[[Path], object]:
    """Put a playlist behind the head of an mp4."""
    return written(b"\0\0\0\x14ftypisom\0\0\0\0isom" + content)


def intruders(canary: Canary) -> list[Specimen]:
    """Return the specimens, naming a canary."""
    file, address = str(canary.file), canary.address
    data = "data:video/mp4;base64,AAAAGGZ0eXBpc29t"
    video, audio, picture = MediaKind.VIDEO, MediaKind.AUDIO, MediaKind.PICTURE
    reference = patched(partial(clip, container="mov", options=FAST), in_another_file(canary.file))
    return [
        Specimen("HLS playlist of an address", video, written(_playlist(address)), UNSUPPORTED),
        Specimen("HLS playlist of an address, named .mp4", video, written(_playlist(address)), UNSUPPORTED, "a.mp4"),
        Specimen("HLS playlist of an address, named .m3u8", video, written(_playlist(address)), UNSUPPORTED, "a.m3u8"),
        Specimen("HLS playlist of a file", video, written(_playlist(f"file://{file}")), UNSUPPORTED, "a.m3u8"),
        Specimen("HLS playlist of a data address", video, written(_playlist(data)), UNSUPPORTED, "a.m3u8"),
        Specimen(
            "HLS playlist behind the head of an mp4", video, _behind_mp4(_playlist(address)), FaultCode.MEDIA_UNREADABLE
        ),
        Specimen("HLS playlist as audio", audio, written(_playlist(address)), UNSUPPORTED, "a.m3u8"),
        Specimen(
            "PLS playlist as audio",
            audio,
            written(f"[playlist]\nFile1={address}\n".encode() * 20),
            UNSUPPORTED,
            "a.pls",
        ),
        Specimen("DASH manifest of an address", video, written(_dash(address)), UNSUPPORTED, "a.mpd"),
        Specimen("DASH manifest of a file", video, written(_dash(f"file://{file}")), UNSUPPORTED, "a.mpd"),
        Specimen(
            "concat list of a file",
            video,
            written(f"ffconcat version 1.0\nfile '{file}'\n".encode()),
            UNSUPPORTED,
            "a.ffconcat",
        ),
        Specimen("concat list of a neighbour", video, written(b"ffconcat version 1.0\nfile canary.mp4\n"), UNSUPPORTED),
        Specimen(
            "SDP session",
            video,
            written(b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n"),
            UNSUPPORTED,
            "a.sdp",
        ),
        Specimen(
            "RTSP address as text", video, written(address.replace("http", "rtsp").encode()), UNSUPPORTED, "a.ram"
        ),
        Specimen(
            "ASX playlist",
            video,
            written(f'<asx version="3"><entry><ref href="{address}"/></entry></asx>'.encode() * 5),
            UNSUPPORTED,
            "a.asx",
        ),
        Specimen("QuickTime reference movie", video, reference, FaultCode.MEDIA_UNREADABLE, "a.mov"),
        Specimen("SVG with an address", picture, written(_svg(address)), UNSUPPORTED, "a.svg"),
        Specimen("SVG with a file, named .png", picture, written(_svg(f"file://{file}")), UNSUPPORTED, "a.png"),
        Specimen("PostScript named .png", picture, written(_postscript(file)), UNSUPPORTED, "a.png"),
        Specimen(
            "ImageMagick script",
            picture,
            written(f"push graphic-context\nimage over 0,0 9,9 '{address}'\n".encode()),
            UNSUPPORTED,
            "a.mvg",
        ),
        Specimen(
            "X bitmap list of a file", picture, written(f"#define a_width 64\n@{file}\n".encode()), UNSUPPORTED, "a.xbm"
        ),
    ]
