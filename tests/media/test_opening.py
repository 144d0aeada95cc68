import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.opening import is_media, open_media
from gpu_tasks.media.probe import probe
from tests.media.footage import numbered_frame, tone, write_numbered, write_sound


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A listening server that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def picture(extension: str) -> bytes:
    return bytes(cv2.imencode(extension, numbered_frame(3))[1])


REFUSED = {
    "zero bytes": (b"", FaultCode.OBJECT_EMPTY),
    "text": (b"this is no media at all\n" * 50, FaultCode.MEDIA_UNSUPPORTED),
    "one byte": (b"\x00", FaultCode.MEDIA_UNSUPPORTED),
    "png": (picture(".png"), FaultCode.MEDIA_UNSUPPORTED),
    "jpeg": (picture(".jpg"), FaultCode.MEDIA_UNSUPPORTED),
    "gif": (b"GIF89a" + bytes(600), FaultCode.MEDIA_UNSUPPORTED),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(600), FaultCode.MEDIA_UNSUPPORTED),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', FaultCode.MEDIA_UNSUPPORTED),
    "concat list": (b"ffconcat version 1.0\nfile other.mp4\n", FaultCode.MEDIA_UNSUPPORTED),
    "dash": (b'<?xml version="1.0"?><MPD></MPD>', FaultCode.MEDIA_UNSUPPORTED),
    "sdp": (b"v=0\r\nm=video 5004 RTP/AVP 96\r\n", FaultCode.MEDIA_UNSUPPORTED),
    "webp": (picture(".webp"), FaultCode.MEDIA_UNSUPPORTED),
    "mp4 of nothing": (b"\0\0\0\x18ftypisom" + bytes(600), FaultCode.MEDIA_UNREADABLE),
    "matroska of nothing": (b"\x1aE\xdf\xa3" + bytes(600), FaultCode.MEDIA_UNREADABLE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_media_is_refused_by_content_under_any_name(tmp_path: Path, name: str) -> None:
    content, code = REFUSED[name]
    file = tmp_path / "upload.mp4"
    file.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        probe(file)
    assert caught.value.fault.code is code
    assert str(tmp_path) not in caught.value.fault.detail


@pytest.mark.parametrize("name", ["clip.mp4", "clip.m3u8", "clip.txt"])
def test_a_playlist_makes_no_connection_under_any_name(tmp_path: Path, canary: socket.socket, name: str) -> None:
    host, port = canary.getsockname()
    playlist = tmp_path / name
    playlist.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n"
        f"#EXTINF:5,\nhttp://{host}:{port}/segment.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(MediaError) as caught, open_media(playlist):
        pass
    assert caught.value.fault.code is FaultCode.MEDIA_UNSUPPORTED
    with pytest.raises(BlockingIOError):
        canary.accept()


def test_a_name_is_never_taken_for_a_protocol_or_a_pattern(tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "clip.mp4", 3)
    for name in ("concat:clip.mp4|clip.mp4", "frame%03d.png", "http:", "clip.m3u8"):
        renamed = tmp_path / name
        renamed.write_bytes(clip.read_bytes())
        video = probe(renamed).video
        assert video is not None
        assert video.frame_count == 3


def test_sound_alone_is_media_without_video(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "speech.mp4", tone(seconds=0.5))
    info = probe(sound)
    assert info.container == "wav"
    assert info.video is None
    assert info.audio is not None
    assert info.audio.duration_seconds == 0.5
    assert info.size_bytes == sound.stat().st_size


def test_an_id3_tag_in_front_does_not_hide_what_follows(tmp_path: Path) -> None:
    flac = write_sound(tmp_path / "a.flac", tone(seconds=0.2), codec="flac", container="flac").read_bytes()
    size = bytes((0, 0, 2, 0))
    (tmp_path / "tagged").write_bytes(b"ID3\x04\0\0" + size + bytes(256) + flac)
    assert is_media(tmp_path / "tagged")
    assert probe(tmp_path / "tagged").container == "flac"
