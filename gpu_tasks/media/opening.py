"""The one way to open a media file: a local path, sniffed by content, with every other door of FFmpeg shut.

Names and extensions count for nothing. FFmpeg would otherwise pick image2, concat, HLS or an address from them, and a
playlist makes it open other files and addresses.
"""

from pathlib import Path

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.sniffing import MATROSKA, MOV, MPEGTS, sniff
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
# Each packet has a time of its own. The others count samples: what looks like a gap there is damage.
WITH_A_CLOCK = frozenset({MOV.name, MATROSKA.name, MPEGTS.name})


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
