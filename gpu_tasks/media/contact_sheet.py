"""Several videos and pictures under one another, at equal times: what a person looks at to compare."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.facts import pixel_shape
from gpu_tasks.media.opening import is_media, open_media, video_stream
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image

_GAP_PX = 4
_LABEL_PX = 22
_PAPER = 24
_INK = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(rows: Sequence[tuple[str, Path]], *, columns: int, height_px: int, destination: Path) -> None:
    """Draw a PNG with one row per file: its label (ASCII), then `columns` frames at equal times.

    The times are spread evenly over the shortest of the videos, so that what stands in one column is simultaneous;
    a picture stands once, at the left.

    Args:
        rows: Label and file; a video, or a JPEG, PNG or WebP picture.
        columns: Frames per video.
        height_px: Of one frame in the sheet.
        destination: The PNG to write.

    Raises:
        MediaError: As VideoReader and read_image do; REQUEST_INVALID without rows or columns.
    """
    if not rows or columns < 1:
        raise MediaError(FaultCode.REQUEST_INVALID, "A contact sheet needs rows and columns.")
    is_video = {path: is_media(path) for _, path in rows}
    seconds = min((_seconds(path) for path, moves in is_video.items() if moves), default=Fraction(0))
    times = [seconds * (2 * column + 1) / (2 * columns) for column in range(columns)]
    shown = [(label, _frames(path, times) if is_video[path] else [read_image(path)]) for label, path in rows]
    sheet = rows_of(shown, height_px)
    if not cv2.imwrite(str(destination), sheet):
        raise OSError(f"cannot write {destination}")


def rows_of(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], height_px: int) -> NDArray[np.uint8]:
    """Lay rows of pictures (HWC uint8 BGR, any size) under one another, each under its label (ASCII)."""
    strips = [_strip(label, pictures, height_px) for label, pictures in rows]
    width = max(strip.shape[1] for strip in strips)
    return np.vstack([_padded(strip, width) for strip in strips])


def _seconds(path: Path) -> Fraction:
    with VideoReader(path) as reader:
        return reader.info.frame_count / reader.info.fps


def _frames(path: Path, times: Sequence[Fraction]) -> list[NDArray[np.uint8]]:
    with open_media(path) as container:
        shape = pixel_shape(video_stream(container))
    with VideoReader(path) as reader:
        if reader.info.rotation_degrees % 180:
            # The file tells the shape of a stored pixel, and frames come upright.
            shape = 1 / shape
        indices = [min(int(time * reader.info.fps), reader.info.frame_count - 1) for time in times]
        return [_as_shown(next(reader.frames(index, index + 1)).pixels, shape) for index in indices]


def _as_shown(frame: NDArray[np.uint8], shape: Fraction) -> NDArray[np.uint8]:
    """Give a frame square pixels, as players do: results have them, and targets need not."""
    size = (round(frame.shape[1] * shape), frame.shape[0])
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _strip(label: str, frames: Sequence[NDArray[np.uint8]], height_px: int) -> NDArray[np.uint8]:
    """Lay frames (HWC uint8 BGR, any size) side by side under their label."""
    gap = _blank(height_px, _GAP_PX)
    cells = [cell for frame in frames for cell in (_scaled(frame, height_px), gap)]
    pictures = np.hstack(cells)
    title = _blank(_LABEL_PX, pictures.shape[1])
    cv2.putText(title, label, (_GAP_PX, _LABEL_PX - 7), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
    return np.vstack([title, pictures])


def _scaled(frame: NDArray[np.uint8], height_px: int) -> NDArray[np.uint8]:
    width_px = max(1, round(frame.shape[1] * height_px / frame.shape[0]))
    return np.asarray(cv2.resize(frame, (width_px, height_px), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _padded(strip: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.hstack([strip, _blank(strip.shape[0], width - strip.shape[1])])


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, dtype=np.uint8)
