"""The one way to open a media file: a local path, sniffed by content, with every other door of FFmpeg shut.

Names and extensions count for nothing. FFmpeg would otherwise pick image2, concat, HLS or an address from them, and a
playlist makes it open other files and addresses.
"""

from pathlib import Path
from typing import NamedTuple

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError, reading

_OPEN_TIMEOUT_SECONDS = 30.0
_READ_TIMEOUT_SECONDS = 60.0
_HEAD_BYTES = 4096
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
# A track that is no dialogue, or that is made for people who need another one.
_ASIDE = (
    Disposition.comment
    | Disposition.visual_impaired
    | Disposition.hearing_impaired
    | Disposition.lyrics
    | Disposition.karaoke
    | Disposition.dependent
)
# Codecs that cameras, phones, editors and browsers write. FFmpeg has decoders of some 500, many of them untended.
VIDEO_CODECS = frozenset({"h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "mpeg2video", "mjpeg", "prores"})
AUDIO_CODECS = frozenset(
    {"aac", "mp3", "mp2", "opus", "vorbis", "flac", "alac", "ac3", "eac3", "pcm_alaw", "pcm_mulaw", "adpcm_ms"}
    | {"adpcm_ima_wav", "adpcm_ima_qt", "pcm_u8", "pcm_s8", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le"}
    | {f"pcm_s{bits}{order}" for bits in (16, 24, 32) for order in ("le", "be")}
)
# The decoders of these codecs by FFmpeg's names: no other one runs, not even while a file is being opened.
_DECODERS = ",".join(sorted(VIDEO_CODECS | AUDIO_CODECS | {"libdav1d", "mp3float", "mp2float", "libopus"}))
# 8K. Checked by the decoder on what it is about to allocate; the gate's own limit is lower.
_MOST_PIXELS = 8192 * 4352


class Demuxer(NamedTuple):
    """`name` as av.open takes it, `family` as FFmpeg's format_whitelist compares it."""

    name: str
    family: str


MOV = Demuxer("mov", "mov,mp4,m4a,3gp,3g2,mj2")
MATROSKA = Demuxer("matroska", "matroska,webm")
AVI = Demuxer("avi", "avi")
MPEGTS = Demuxer("mpegts", "mpegts")
WAV = Demuxer("wav", "wav")
MP3 = Demuxer("mp3", "mp3")
FLAC = Demuxer("flac", "flac")
OGG = Demuxer("ogg", "ogg")
AAC = Demuxer("aac", "aac")
# Each packet has a time of its own. The others count samples: what looks like a gap there is damage.
WITH_A_CLOCK = frozenset({MOV.name, MATROSKA.name, MPEGTS.name})

# ISO base media brands of pictures (ISO/IEC 23008-12): HEIC and AVIF share the container with mp4.
_PICTURE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif"})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_TS_PACKET_BYTES = 188


def open_media(path: Path) -> InputContainer:
    """Open a local file for reading; use it as a context.

    Args:
        path: A file that we named ourselves.

    Returns:
        The container, with the demuxer that its first bytes ask for and no access to anything but this file.

    Raises:
        MediaError: OBJECT_EMPTY for zero bytes, MEDIA_UNSUPPORTED for content outside the allow-list (playlists,
            pictures, text), MEDIA_UNREADABLE when the container is broken.
    """
    demuxer = sniff(_head(path))
    if demuxer is None:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its content is no known video or audio format.")
    with reading():
        return av.open(
            f"file:{path.resolve()}",
            mode="r",
            format=demuxer.name,
            # Titles and comments are not ours: undecodable ones must not make a sound file unreadable.
            metadata_errors="ignore",
            options={
                "protocol_whitelist": "file",
                "format_whitelist": demuxer.family,
                "codec_whitelist": _DECODERS,
            },
            timeout=(_OPEN_TIMEOUT_SECONDS, _READ_TIMEOUT_SECONDS),
        )


def is_media(path: Path) -> bool:
    """Tell by content whether a file is of a kind that `open_media` takes (it may still be broken)."""
    return sniff(_head(path)) is not None


def sniff(head: bytes) -> Demuxer | None:
    """Tell the demuxer for a file's first bytes (at least 512, where it has them), None when none is allowed."""
    kind = head[4:8]
    if kind == b"ftyp":
        return None if head[8:12] in _PICTURE_BRANDS else MOV
    if kind in _QUICKTIME_ATOMS:
        return MOV
    if head.startswith((b"RIFF", b"RF64", b"RIFX")):
        return {b"WAVE": WAV, b"AVI ": AVI}.get(head[8:12])
    for magic, demuxer in ((b"\x1aE\xdf\xa3", MATROSKA), (b"fLaC", FLAC), (b"OggS", OGG)):
        if head.startswith(magic):
            return demuxer
    if head[:1] == b"G" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == b"G":
        return MPEGTS
    return _sniff_raw_audio(head)


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """Return the video streams that are no covers or thumbnails."""
    return [stream for stream in container.streams.video if not stream.disposition & _PICTURES]


def picture_stream(container: InputContainer) -> VideoStream | None:
    """Return the moving pictures that are looked at: the ones marked as default before others, else the first."""
    return min(
        moving_pictures(container), key=lambda stream: not stream.disposition & Disposition.default, default=None
    )


def video_stream(container: InputContainer) -> VideoStream:
    """Return what `picture_stream` does, made ready for decoding.

    Raises:
        MediaError: NO_VIDEO_STREAM, or MEDIA_UNSUPPORTED when its codec is not on the list.
    """
    stream = picture_stream(container)
    if stream is None:
        raise MediaError(FaultCode.NO_VIDEO_STREAM)
    if not _is_one_of(stream, VIDEO_CODECS):
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its video codec is not supported.")
    # Takes effect only here: as an option of the container FFmpeg ignores it.
    stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS)}
    return stream


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the track that is listened to, None when there is none.

    It is the first of those that can be decoded: the one marked as default before others, a comment or a description
    for the blind only when there is nothing else. Phones put a spatial track beside the plain one.

    Raises:
        MediaError: MEDIA_UNSUPPORTED when there are tracks, but none of a codec on the list.
    """
    streams = list(container.streams.audio)
    heard = [stream for stream in streams if _is_one_of(stream, AUDIO_CODECS)]
    if streams and not heard:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its audio codec is not supported.")
    return min(heard, key=_how_far_aside, default=None)


def _is_one_of(stream: VideoStream | AudioStream, codecs: frozenset[str]) -> bool:
    # PyAV has no context for what FFmpeg has no decoder for, whatever its types say.
    context: VideoCodecContext | AudioCodecContext | None = stream.codec_context
    return context is not None and context.codec.canonical_name in codecs


def _how_far_aside(stream: AudioStream) -> tuple[bool, bool]:
    return bool(stream.disposition & _ASIDE), not stream.disposition & Disposition.default


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if not head:
            raise MediaError(FaultCode.OBJECT_EMPTY)
        if head.startswith(b"ID3") and len(head) >= 10:  # noqa: PLR2004  # an ID3v2 header has 10 bytes
            # ID3 tags stand before MP3, ADTS and FLAC alike: what follows the tag decides (size: 4 times 7 bits).
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
            file.seek(10 + size)
            # Some taggers pad beyond the size they state.
            head = file.read(_HEAD_BYTES).lstrip(b"\0") or b"ID3"
    return head


def _sniff_raw_audio(head: bytes) -> Demuxer | None:
    if head.startswith(b"ID3"):
        return MP3
    if len(head) > 1 and head[0] == 0xFF:  # noqa: PLR2004  # the sync word of MPEG audio is 11 or 12 set bits
        if head[1] & 0xF6 == 0xF0:  # noqa: PLR2004  # ADTS: 12 bits of sync, layer 0
            return AAC
        if head[1] >= 0xE0 and head[1] & 0x06 in (0x02, 0x04):  # noqa: PLR2004  # 11 bits of sync, MPEG layer 3 or 2
            return MP3
    return None
