"""Pictures (source images): JPEG, PNG or WebP by content, of a bounded size, upright, without alpha."""

import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError

# 50 megapixels: beyond any camera picture of a face, and 150 MB decoded.
MOST_PIXELS = 50_000_000
LEAST_SIDE_PX = 32

_OPAQUE = 255
_ALPHA_CHANNEL = 3
_BGRA_CHANNELS = 4
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_SYNC = 0xFF
# ITU T.81 table B.1: SOF0..SOF15 hold the size; C4, C8 and CC in between are other segments.
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class _Size(NamedTuple):
    """Size that a file states, in pixels, before any orientation."""

    width: int
    height: int


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decode a picture.

    JPEG orientation (EXIF) is applied; transparency is laid on white (a transparent picture is taken as stored, without
    EXIF orientation); 16-bit and grey pictures become 8-bit BGR.

    Returns:
        HWC uint8 BGR.

    Raises:
        MediaError: OBJECT_EMPTY for zero bytes, MEDIA_UNSUPPORTED for other content or a size outside the limits,
            MEDIA_UNREADABLE when it is damaged or cut off.
    """
    content = path.read_bytes()
    if not content:
        raise MediaError(FaultCode.OBJECT_EMPTY)
    # The stated size is checked before a decoder allocates it.
    size = _stated_size(content)
    if size.width * size.height > MOST_PIXELS:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{size.width}x{size.height} pixels are too many.")
    if min(size.width, size.height) < LEAST_SIDE_PX:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{size.width}x{size.height} pixels are too few.")
    encoded = np.frombuffer(content, dtype=np.uint8)
    stored = None if content.startswith(b"\xff\xd8") else _decoded(encoded, cv2.IMREAD_UNCHANGED)
    if stored is not None and stored.shape[2:] == (_BGRA_CHANNELS,):
        return _on_white(stored)
    return np.asarray(_decoded(encoded, cv2.IMREAD_COLOR_BGR), dtype=np.uint8)


def _decoded(encoded: NDArray[np.uint8], flags: int) -> NDArray[np.generic]:
    try:
        pixels = cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "The picture is damaged.") from error
    if pixels is None:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "The picture is damaged.")
    return pixels


def _on_white(stored: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Flatten HWC BGRA of 8 or 16 bits onto white."""
    deep = np.asarray(stored, dtype=np.uint16)
    bgra = (deep if stored.dtype == np.uint8 else deep >> 8).astype(np.uint8)
    # 16 bits hold every product of two 8-bit numbers; floats would take four times the memory of a large picture.
    alpha = bgra[..., _ALPHA_CHANNEL:].astype(np.uint16)
    flattened = (bgra[..., :_ALPHA_CHANNEL] * alpha + _OPAQUE * (_OPAQUE - alpha) + _OPAQUE // 2) // _OPAQUE
    return np.asarray(flattened, dtype=np.uint8)


def _stated_size(content: bytes) -> _Size:
    try:
        if content.startswith(_PNG_MAGIC):
            width, height = struct.unpack_from(">II", content, 16)
            return _Size(width, height)
        if content.startswith(b"\xff\xd8\xff"):
            return _jpeg_size(content)
        if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            return _webp_size(content)
    except (struct.error, IndexError) as error:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "The picture is cut off.") from error
    raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its content is no JPEG, PNG or WebP picture.")


def _jpeg_size(content: bytes) -> _Size:
    position = 2
    while True:
        # Segments may be preceded by any number of fill bytes FF.
        while content[position] == content[position + 1] == _JPEG_SYNC:
            position += 1
        sync, marker, length = struct.unpack_from(">BBH", content, position)
        if sync != _JPEG_SYNC:
            raise MediaError(FaultCode.MEDIA_UNREADABLE, "The picture is damaged.")
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", content, position + 5)
            return _Size(width, height)
        position += 2 + length


def _webp_size(content: bytes) -> _Size:
    """Read the size as RFC 9649 lays it out for extended, lossless and lossy files."""
    kind = content[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little") + 1
        height = int.from_bytes(content[27:30], "little") + 1
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 26))
    return _Size(width, height)
