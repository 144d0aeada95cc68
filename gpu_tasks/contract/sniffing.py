"""What a file is by its first bytes: names, extensions and declared types count for nothing."""

from enum import StrEnum
from typing import Final, NamedTuple


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

# ISO base media brands of pictures (ISO/IEC 23008-12): HEIC and AVIF share the container with mp4.
_PICTURE_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif"})
# Brands of sound alone in the same container.
_SOUND_BRANDS = frozenset({b"M4A ", b"M4B "})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_TS_PACKET_BYTES = 188


class Content(StrEnum):
    """What somebody wants to put in: a moving picture may bring the sound."""

    AUDIO = "audio"
    VIDEO = "video"
    PICTURE = "picture"


_TYPES: Final = {
    MATROSKA: "video/webm",
    AVI: "video/x-msvideo",
    MPEGTS: "video/mp2t",
    WAV: "audio/wav",
    MP3: "audio/mpeg",
    FLAC: "audio/flac",
    OGG: "audio/ogg",
    AAC: "audio/aac",
}
_PICTURE_MAGIC: Final = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"GIF8", "image/gif"))
# How many bytes of a file `sniff` and `media_type_of` want to see.
HEAD_BYTES: Final = 512


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


def media_type_of(head: bytes) -> str | None:
    """Return the media type of a file by its first bytes, None when it is neither sound, video nor picture."""
    if (demuxer := sniff(head)) is not None:
        if demuxer is MOV:
            return "audio/mp4" if head[8:12] in _SOUND_BRANDS else "video/mp4"
        return _TYPES[demuxer]
    if head[4:8] == b"ftyp":
        return "image/avif" if head[8:12] == b"avif" else "image/heic"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"BM"):
        return "image/bmp"
    return next((told for magic, told in _PICTURE_MAGIC if head.startswith(magic)), None)


def may_be(media_type: str | None, wanted: Content) -> bool:
    """Tell whether a file of this type can be used as what is wanted; the gate looks closer later."""
    kind = (media_type or "").partition("/")[0]
    if wanted is Content.PICTURE:
        return kind == "image"
    # Ogg and MP4 hold sound or pictures; a video may bring the driving audio.
    return kind == "video" or (kind == "audio" and (wanted is Content.AUDIO or media_type == "audio/ogg"))


def _sniff_raw_audio(head: bytes) -> Demuxer | None:
    if head.startswith(b"ID3"):
        return MP3
    if len(head) > 1 and head[0] == 0xFF:  # noqa: PLR2004  # the sync word of MPEG audio is 11 or 12 set bits
        if head[1] & 0xF6 == 0xF0:  # noqa: PLR2004  # ADTS: 12 bits of sync, layer 0
            return AAC
        if head[1] >= 0xE0 and head[1] & 0x06 in (0x02, 0x04):  # noqa: PLR2004  # 11 bits of sync, MPEG layer 3 or 2
            return MP3
    return None
