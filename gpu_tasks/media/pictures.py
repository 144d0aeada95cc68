"""Still pictures at the gate: what a camera, phone or browser saves, as an upright opaque 8-bit sRGB picture.

Pillow picks a decoder by content among those that are named, and only those: it has some that start other programs
(Ghostscript for EPS).
"""

import io
import warnings
from pathlib import Path

import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import Change, ChangeKind, PictureInfo
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import Examined
from gpu_tasks.media.limits import MediaLimits

# What `still.read_image` and every browser read.
_PLAIN_FORMATS = frozenset({"JPEG", "PNG", "WEBP"})
_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "GIF", "BMP")
_PLAIN_MODES = frozenset({"RGB", "L", "P", "1"})
_OPAQUE = 255
_EXIF_ORIENTATION, _UPRIGHT = 0x0112, 1
# Whatever else stands there says nothing (Exif 2.32, 4.6.4).
_TURNED = frozenset(range(2, 9))
# A picture of several: phones and 3D cameras put a second one behind the first.
_MULTI_PICTURE_JPEG = "MPO"
_WHITE = (255, 255, 255)

pillow_heif.register_heif_opener()


class PictureOrder(BaseModel):
    """A picture, and where a normalised copy may go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examined: Examined
    destination: Path


class PictureReply(BaseModel):
    """What the picture is, as it may be used; `changes` is empty when that is the file itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    info: PictureInfo
    changes: tuple[Change, ...]


def look_at_picture(order: PictureOrder) -> PictureReply:
    """Decode a picture; write a plain PNG where the file is not one that every stage reads alike.

    Raises:
        MediaError: MEDIA_UNSUPPORTED for another format, PICTURE_TOO_LARGE, MEDIA_UNREADABLE when it is damaged.
    """
    path, limits = order.examined.path, order.examined.limits
    # Ours is checked below, before a pixel is decoded; this one counts for frames inside frames.
    Image.MAX_IMAGE_PIXELS = limits.max_still_pixels
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=_FORMATS) as picture:
                _require_size(picture, limits)
                # Pillow decodes a damaged PNG without a word; this checks its sums, and spends the picture.
                picture.verify()
            with Image.open(path, formats=_FORMATS) as picture:
                return _looked_at(picture, order)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise MediaError(FaultCode.PICTURE_TOO_LARGE) from error
        except UnidentifiedImageError as error:
            known = _is_known(path)
            code = FaultCode.MEDIA_UNREADABLE if known else FaultCode.MEDIA_UNSUPPORTED
            raise MediaError(
                code, "" if known else "Send a JPEG, PNG, WebP, HEIC, AVIF, GIF or BMP picture."
            ) from error
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            # Pillow's decoders tell of damage by any of these.
            raise MediaError(FaultCode.MEDIA_UNREADABLE, "The picture is damaged.") from error


def _looked_at(picture: Image.Image, order: PictureOrder) -> PictureReply:
    file_format = "JPEG" if picture.format == _MULTI_PICTURE_JPEG else str(picture.format)
    changes = []
    if file_format not in _PLAIN_FORMATS:
        changes.append(
            Change(kind=ChangeKind.RECODED, sentence=f"The picture was converted from {file_format} to PNG.")
        )
    if picture.format != _MULTI_PICTURE_JPEG and (count := getattr(picture, "n_frames", 1)) > 1:
        sentence = f"The first of {count} pictures of an animation was taken."
        changes.append(Change(kind=ChangeKind.FIRST_PICTURE_TAKEN, sentence=sentence))
    picture.load()
    made = picture
    if picture.getexif().get(_EXIF_ORIENTATION, _UPRIGHT) in _TURNED:
        made = ImageOps.exif_transpose(made)
        changes.append(Change(kind=ChangeKind.TURNED, sentence="The picture was turned upright."))
    if made.has_transparency_data:
        layered = made.convert("RGBA")
        made = _on_white(layered)
        # Many pictures have an alpha channel that says nothing.
        if layered.getextrema()[-1] != (_OPAQUE, _OPAQUE):
            changes.append(Change(kind=ChangeKind.FLATTENED, sentence="Transparent parts were laid on white."))
    if (converted := _in_srgb(made)) is not made:
        made = converted
        changes.append(Change(kind=ChangeKind.COLOUR_CONVERTED, sentence="The colours were converted to 8-bit sRGB."))
    used = order.examined.path
    if changes:
        used = order.destination
        # Without metadata: where a face was photographed is nobody's business here.
        made.convert("RGB").save(used, "PNG", compress_level=1)
    info = PictureInfo(
        format="PNG" if changes else file_format, width=made.width, height=made.height, size_bytes=used.stat().st_size
    )
    return PictureReply(info=info, changes=tuple(changes))


def _require_size(picture: Image.Image, limits: MediaLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_still_pixels:
        raise MediaError(FaultCode.PICTURE_TOO_LARGE, f"It has {width}x{height}.")
    if min(width, height) < limits.min_side_px:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{width}x{height} pixels are too few.")


def _on_white(layered: Image.Image) -> Image.Image:
    paper = Image.new("RGB", layered.size, _WHITE)
    paper.paste(layered, mask=layered.getchannel("A"))
    if profile := layered.info.get("icc_profile"):
        paper.info["icc_profile"] = profile
    return paper


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Return the picture in 8-bit sRGB or grey; the same object when it is that already."""
    if picture.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        return picture.point(lambda value: value / 256).convert("L")
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in {"RGB", "CMYK"} and not _is_srgb(profile):
        try:
            return ImageCms.profileToProfile(  # type: ignore[return-value]  # a picture unless in place
                picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError):
            # A broken profile is no reason to refuse the picture: viewers ignore it, too.
            return picture if picture.mode in _PLAIN_MODES else picture.convert("RGB")
    return picture if picture.mode in _PLAIN_MODES else picture.convert("RGB")


def _is_srgb(profile: bytes) -> bool:
    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, OSError):
        return True


def _is_known(path: Path) -> bool:
    """Tell by the first bytes whether a file that no decoder opened is at least meant to be a picture of ours."""
    with path.open("rb") as file:
        head = file.read(16)
    is_heif = head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"mif1", b"avif"}
    return is_heif or head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")) or head[8:12] == b"WEBP"
