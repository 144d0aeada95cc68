"""Pictures of every kind that people send, and some that nobody does by accident."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import ChangeKind, MediaKind
from tests.media.corpus.making import FAST, clip
from tests.media.corpus.specimen import AS_IT_IS, Specimen, Verdict, changed, written
from tests.media.footage import numbered_frame

pillow_heif.register_heif_opener()

PICTURE = Image.fromarray(np.ascontiguousarray(numbered_frame(5)[..., ::-1]))
_ORIENTATION = 0x0112


def encoded(file_format: str, picture: Image.Image = PICTURE, **how: Any) -> bytes:  # noqa: ANN401  # passed on
    memory = io.BytesIO()
    picture.save(memory, file_format, **how)
    return memory.getvalue()


def oriented(orientation: int) -> bytes:
    """Return EXIF with an orientation; of it pillow-heif makes the transform that phones write into a HEIC."""
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    return exif.tobytes()


def see_through(opacity: int) -> Image.Image:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(opacity)
    return picture


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_claiming(width: int, height: int, *others: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(others)
        + chunk(b"IDAT", zlib.compress(bytes(64)))
        + chunk(b"IEND", b"")
    )


def _text_bomb() -> bytes:
    return png_claiming(64, 64, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9)))


def _wide_gamut() -> bytes:
    """Return an ICC profile that is not sRGB: Pillow's own Lab profile has no RGB, so sRGB is renamed and rotated."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    name = profile.index("sRGB".encode("utf-16-be"))
    profile[name : name + 8] = "Wide".encode("utf-16-be")
    return bytes(profile)


def _damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(60) + content[middle + 60 :]


def _picture(
    name: str, verdict: Verdict, make: bytes | Callable[[Path], object], file_name: str = "upload"
) -> Specimen:
    return Specimen(name, MediaKind.PICTURE, written(make) if isinstance(make, bytes) else make, verdict, file_name)


def _linked(path: Path) -> None:
    path.with_suffix(".real").write_bytes(encoded("JPEG"))
    path.symlink_to(path.with_suffix(".real"))


_ANIMATION: dict[str, Any] = {"save_all": True, "append_images": [PICTURE.rotate(180)], "duration": 100}
_DEEP_GREY = Image.fromarray(np.full((64, 96), 30_000, dtype=np.uint16))
_RECODED = changed(ChangeKind.RECODED)
_FIRST = ChangeKind.FIRST_PICTURE_TAKEN

PICTURES = [
    _picture("jpeg", AS_IT_IS, encoded("JPEG")),
    _picture("jpeg, progressive", AS_IT_IS, encoded("JPEG", progressive=True)),
    _picture("jpeg, grey", AS_IT_IS, encoded("JPEG", PICTURE.convert("L"))),
    _picture("jpeg named .mp4", AS_IT_IS, encoded("JPEG"), "face.mp4"),
    _picture("jpeg of two pictures (phone portrait)", AS_IT_IS, encoded("MPO", save_all=True, append_images=[PICTURE])),
    _picture("jpeg with a ZIP behind it", AS_IT_IS, encoded("JPEG") + b"PK\x03\x04" + bytes(300)),
    _picture("jpeg with a broken colour profile", AS_IT_IS, encoded("JPEG", icc_profile=b"no profile" * 20)),
    _picture("png", AS_IT_IS, encoded("PNG")),
    _picture("png with a palette", AS_IT_IS, encoded("PNG", PICTURE.convert("P"))),
    _picture("png, opaque alpha", AS_IT_IS, encoded("PNG", see_through(255))),
    _picture("webp, lossy", AS_IT_IS, encoded("WEBP")),
    _picture("webp, lossless", AS_IT_IS, encoded("WEBP", lossless=True)),
    _picture("jpeg turned by EXIF (3)", changed(ChangeKind.TURNED), encoded("JPEG", exif=oriented(3))),
    _picture("jpeg turned by EXIF (6)", changed(ChangeKind.TURNED), encoded("JPEG", exif=oriented(6))),
    _picture("jpeg turned by EXIF (8)", changed(ChangeKind.TURNED), encoded("JPEG", exif=oriented(8))),
    _picture("jpeg with an EXIF orientation that means nothing (0)", AS_IT_IS, encoded("JPEG", exif=oriented(0))),
    _picture("jpeg with an EXIF orientation that means nothing (9)", AS_IT_IS, encoded("JPEG", exif=oriented(9))),
    _picture("jpeg mirrored by EXIF (2)", changed(ChangeKind.TURNED), encoded("JPEG", exif=oriented(2))),
    _picture("png, half transparent", changed(ChangeKind.FLATTENED), encoded("PNG", see_through(128))),
    _picture("webp, half transparent", changed(ChangeKind.FLATTENED), encoded("WEBP", see_through(128))),
    _picture("png, 16-bit grey", changed(ChangeKind.COLOUR_CONVERTED), encoded("PNG", _DEEP_GREY)),
    _picture("jpeg, CMYK", changed(ChangeKind.COLOUR_CONVERTED), encoded("JPEG", PICTURE.convert("CMYK"))),
    _picture("jpeg, wide gamut", changed(ChangeKind.COLOUR_CONVERTED), encoded("JPEG", icc_profile=_wide_gamut())),
    _picture("heic (phone)", _RECODED, encoded("HEIF")),
    _picture("heic turned (phone held upright)", _RECODED, encoded("HEIF", exif=oriented(6))),
    _picture("avif", _RECODED, encoded("AVIF", speed=10)),
    _picture("bmp", _RECODED, encoded("BMP")),
    _picture("gif", _RECODED, encoded("GIF")),
    _picture("gif, animated", changed(ChangeKind.RECODED, _FIRST), encoded("GIF", **_ANIMATION)),
    _picture("webp, animated", changed(_FIRST), encoded("WEBP", **_ANIMATION)),
    _picture("png, animated", changed(_FIRST), encoded("PNG", **_ANIMATION)),
    _picture("zero bytes", FaultCode.OBJECT_EMPTY, b""),
    _picture("text named .png", FaultCode.MEDIA_UNSUPPORTED, b"no picture" * 30, "face.png"),
    _picture("tiff", FaultCode.MEDIA_UNSUPPORTED, encoded("TIFF")),
    _picture("ico", FaultCode.MEDIA_UNSUPPORTED, encoded("ICO")),
    _picture("pdf", FaultCode.MEDIA_UNSUPPORTED, encoded("PDF")),
    _picture("psd", FaultCode.MEDIA_UNSUPPORTED, b"8BPS\0\1" + bytes(600)),
    _picture("an mp4 as picture", FaultCode.MEDIA_UNSUPPORTED, partial(clip, options=FAST)),
    _picture("a symbolic link", FaultCode.MEDIA_UNSUPPORTED, _linked),
    _picture("jpeg of 8x8", FaultCode.MEDIA_UNSUPPORTED, encoded("JPEG", PICTURE.resize((8, 8)))),
    _picture("jpeg cut off", FaultCode.MEDIA_UNREADABLE, encoded("JPEG")[:-300]),
    _picture("jpeg head, then nothing", FaultCode.MEDIA_UNREADABLE, encoded("JPEG")[:30]),
    _picture("png cut off", FaultCode.MEDIA_UNREADABLE, encoded("PNG", compress_level=0)[:-9000]),
    _picture("png with noise in its pixels", FaultCode.MEDIA_UNREADABLE, _damaged(encoded("PNG"))),
    _picture("png with fewer pixels than it states", FaultCode.MEDIA_UNREADABLE, png_claiming(64, 64)),
    _picture("webp head, then nothing", FaultCode.MEDIA_UNREADABLE, encoded("WEBP")[:40]),
    _picture("heic head, then nothing", FaultCode.MEDIA_UNREADABLE, encoded("HEIF")[:400]),
    _picture("gif head, then nothing", FaultCode.MEDIA_UNREADABLE, encoded("GIF")[:20]),
    _picture("png claiming 2001x1000", FaultCode.PICTURE_TOO_LARGE, png_claiming(2001, 1000)),
    _picture("png claiming two billion pixels a side", FaultCode.PICTURE_TOO_LARGE, png_claiming(2**31 - 1, 2**31 - 1)),
    _picture(
        "png bomb: 64 megapixels in 8 KB",
        FaultCode.PICTURE_TOO_LARGE,
        lambda path: Image.new("1", (8000, 8000)).save(path, "PNG"),
    ),
    _picture(
        "gif claiming 60000x60000",
        FaultCode.PICTURE_TOO_LARGE,
        b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + encoded("GIF")[10:],
    ),
    _picture("png with 80 MB of text in 80 KB", FaultCode.MEDIA_UNREADABLE, _text_bomb()),
]
