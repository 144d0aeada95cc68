import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.contact_sheet import contact_sheet
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.still import MOST_PIXELS, read_image
from tests.media.footage import numbered_frame, write_numbered

PICTURE = numbered_frame(5, width=160, height=120)


def encoded(extension: str, pixels: np.ndarray = PICTURE) -> bytes:
    return bytes(cv2.imencode(extension, pixels)[1])


def png_claiming(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + bytes(64)


def exif_oriented(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_pictures_are_read_by_content_under_any_name(tmp_path: Path, extension: str) -> None:
    (tmp_path / "face.bin").write_bytes(encoded(extension))
    pixels = read_image(tmp_path / "face.bin")
    assert pixels.shape == (120, 160, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - PICTURE).mean() < 3


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_a_camera_picture_is_read_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    (tmp_path / "face.jpg").write_bytes(exif_oriented(encoded(".jpg"), orientation))
    expected = np.rot90(PICTURE, turns)
    pixels = read_image(tmp_path / "face.jpg")
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 3


def test_half_a_veil_over_black_is_grey(tmp_path: Path) -> None:
    for name, full in (("8 bit", 255), ("16 bit", 65535)):
        veil = np.zeros((40, 40, 4), dtype=np.uint8 if full == 255 else np.uint16)
        veil[..., 3] = full // 2
        (tmp_path / name).write_bytes(encoded(".png", veil))
        assert np.abs(read_image(tmp_path / name).astype(int) - 128).max() <= 1


@pytest.mark.parametrize("extension", [".png", ".webp"])
def test_transparency_is_laid_on_white(tmp_path: Path, extension: str) -> None:
    see_through = np.dstack([PICTURE, np.zeros(PICTURE.shape[:2], dtype=np.uint8)])
    see_through[60:, :, 3] = 255
    (tmp_path / "face").write_bytes(encoded(extension, see_through))
    pixels = read_image(tmp_path / "face")
    assert pixels.shape == (120, 160, 3)
    assert (pixels[:50] == 255).all()
    assert np.abs(pixels[60:].astype(int) - PICTURE[60:]).mean() < 4


@pytest.mark.parametrize("pixels", [PICTURE[..., 0], PICTURE.astype(np.uint16) * 257], ids=["grey", "16 bit"])
def test_grey_and_deep_pictures_become_8_bit_bgr(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "face.png").write_bytes(encoded(".png", pixels))
    read = read_image(tmp_path / "face.png")
    assert read.shape == (120, 160, 3)
    assert np.abs(read[..., 0].astype(int) - PICTURE[..., 0]).max() <= 1


REFUSED = {
    "zero bytes": (b"", FaultCode.OBJECT_EMPTY),
    "text": (b"no picture", FaultCode.MEDIA_UNSUPPORTED),
    "gif": (b"GIF89a" + bytes(100), FaultCode.MEDIA_UNSUPPORTED),
    "bomb": (png_claiming(MOST_PIXELS // 1000, 1001), FaultCode.MEDIA_UNSUPPORTED),
    "tiny": (encoded(".png", PICTURE[:8, :8]), FaultCode.MEDIA_UNSUPPORTED),
    "cut off jpeg": (encoded(".jpg")[:-300], FaultCode.MEDIA_UNREADABLE),
    "jpeg head": (encoded(".jpg")[:30], FaultCode.MEDIA_UNREADABLE),
    "png without pixels": (png_claiming(64, 64), FaultCode.MEDIA_UNREADABLE),
    "webp head": (encoded(".webp")[:40], FaultCode.MEDIA_UNREADABLE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_sound_picture_is_refused(tmp_path: Path, name: str) -> None:
    content, code = REFUSED[name]
    (tmp_path / "face.jpg").write_bytes(content)
    with pytest.raises(MediaError) as caught:
        read_image(tmp_path / "face.jpg")
    assert caught.value.fault.code is code


def test_a_contact_sheet_shows_rows_of_simultaneous_frames(tmp_path: Path) -> None:
    clip = write_numbered(tmp_path / "clip.mp4", 50)
    (tmp_path / "face.png").write_bytes(encoded(".png"))
    sheet = tmp_path / "compare.png"
    rows = [("target", clip), ("source", tmp_path / "face.png"), ("again", clip)]
    contact_sheet(rows, columns=4, height_px=96, destination=sheet)
    pixels = cv2.imread(str(sheet))
    assert pixels is not None
    assert pixels.shape == (3 * (96 + 22), 4 * (160 + 4), 3)
    first, last = pixels[22:118], pixels[2 * 118 + 22 :]
    assert (first == last).all()
    # Four times of two seconds at their middles: frames 6, 18, 31 and 43.
    lit = [[bool(first[8, 164 * column + 16 * bit + 8].mean() > 125) for bit in range(10)] for column in range(4)]
    assert [sum(1 << bit for bit, on in enumerate(row) if on) for row in lit] == [6, 18, 31, 43]


@pytest.mark.parametrize(("turn", "width"), [(0, 240), (90, 38), (180, 240), (270, 38)])
def test_a_contact_sheet_shows_pixels_as_wide_as_players_do(tmp_path: Path, turn: int, width: int) -> None:
    # Stored as 160x96 and shown as 240x96, or as 96x240 after a quarter turn.
    clip = tmp_path / "narrow.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)
        if turn:
            stream.set_display_rotation(turn)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 160, 3), np.uint8), format="bgr24")))
        container.mux(stream.encode(None))
    contact_sheet([("target", clip)], columns=1, height_px=96, destination=tmp_path / "sheet.png")
    pixels = cv2.imread(str(tmp_path / "sheet.png"))
    assert pixels is not None
    assert pixels.shape[1] == width + 4
