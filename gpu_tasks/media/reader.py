"""Frames of a video, upright and in BGR, each at its exact place on the constant-frame-rate grid."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self, cast

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.plane import VideoPlane
from av.video.reformatter import Colorspace, VideoReformatter
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.media.conversion import YUV_TO_BGR
from gpu_tasks.media.deinterlace import deinterlaced
from gpu_tasks.media.errors import MediaError, reading
from gpu_tasks.media.grid import find_grid
from gpu_tasks.media.opening import open_media, video_stream
from gpu_tasks.media.orientation import Orientation
from gpu_tasks.media.tone import Light

# H.273: 2 is "unspecified". Players then take BT.709 for HD and BT.601 for SD, and so do we.
_UNSPECIFIED_MATRIX = 2
_SD_WIDTH, _SD_HEIGHT = 1024, 576
# Decoders get no quicker with more, but every one takes memory.
_MOST_THREADS = 8
# A last frame that the decoder withholds is repeated; more than one is a cut-off file.
_MOST_MISSING_FRAMES = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `pixels` is HWC uint8 BGR, upright and the caller's own; `pts_seconds` counts from the first frame."""

    index: int
    pts_seconds: Fraction
    pixels: NDArray[np.uint8]


class Developer(Protocol):
    """Turns a decoded frame into HWC uint8 BGR, as stored: not turned upright yet."""

    def develop(self, frame: av.VideoFrame, /) -> NDArray[np.uint8]: ...


class _Kind(NamedTuple):
    """What all frames of a video have in common: the recipe and the size are made for the first one."""

    width: int
    height: int
    orientation: Orientation
    light: Light

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Self:
        light = Light.of(int(frame.color_trc), int(frame.color_primaries))
        return cls(frame.width, frame.height, Orientation.of(frame), light)

    def require_of(self, other: Self) -> None:
        if (self.width, self.height) != (other.width, other.height):
            raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its picture changes size midway.")
        if self.orientation != other.orientation:
            raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its picture turns midway.")
        if self.light != other.light:
            raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "Its colours change midway between SDR and HDR.")


class VideoReader:
    """Streams frames [start_frame, stop_frame) of a video in order; a context and an iterable.

    One frame per slot of the grid, without holes: slots that a variable-rate file leaves empty repeat the frame before,
    frames beyond one per slot are left out. Memory does not grow with the length of the video.

    Args:
        path: A local file that we named ourselves.
        start_frame: First slot. Reached by seeking to the keyframe before it.
        stop_frame: Slot to stop before; None is the end of the video.
        developer: Another way from decoded frames to BGR than by their matrix and range, such as tone mapping.
        deinterlace: Make whole frames of two fields each.

    Attributes:
        info: What the video is, as its frames come out of here.
        has_interlaced: Whether one of the frames decoded so far consists of two fields.

    Raises:
        MediaError: At opening as `open_media` and `find_grid` do. While iterating MEDIA_UNREADABLE when frames cannot
            be decoded, MEDIA_UNSUPPORTED when one has another size, orientation or dynamic range than the first.
    """

    info: VideoInfo
    has_interlaced: bool

    def __init__(
        self,
        path: Path,
        *,
        start_frame: int = 0,
        stop_frame: int | None = None,
        developer: Developer | None = None,
        deinterlace: bool = False,
    ) -> None:
        self._path = path
        self._developer = developer or _ByTags()
        self._deinterlace = deinterlace
        self._kind: _Kind | None = None
        self.has_interlaced = False
        with ExitStack() as stack:
            self._container = open_media(path)
            stack.callback(self.close)
            self._stream = video_stream(self._container)
            self._grid = find_grid(self._container, self._stream)
            first = next(self._decoded_from(0), None)
            if first is None:
                raise MediaError(FaultCode.MEDIA_UNREADABLE, "No frame could be decoded.")
            self.info = self._describe(first[1])
            # Sound so far: from here on the caller closes.
            stack.pop_all()
        self._range = (start_frame, self.info.frame_count if stop_frame is None else stop_frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(*self._range)

    def frames(self, start_frame: int, stop_frame: int) -> Iterator[Frame]:
        """Stream another range of the same file; one range at a time.

        Raises:
            ValueError: The range is not inside the video.
            MediaError: MEDIA_UNREADABLE when frames cannot be decoded.
        """
        if not 0 <= start_frame <= stop_frame <= self.info.frame_count:
            raise ValueError(f"frames {start_frame}..{stop_frame} of a video of {self.info.frame_count}")
        return (self._frame(slot, shown) for slot, shown in self._slots(start_frame, stop_frame))

    def check(self) -> None:
        """Decode the whole video without converting it.

        Raises:
            MediaError: As iterating does.
        """
        for _ in self._slots(0, self.info.frame_count):
            pass

    def _slots(self, start_frame: int, stop_frame: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield what is shown in each slot."""
        slot, shown = start_frame, None
        for index, frame in self._decoded_from(start_frame):
            # Until a frame of a later slot comes, the one before it stays on the screen.
            while shown is not None and slot < min(index, stop_frame):
                yield slot, shown
                slot += 1
            if slot == stop_frame:
                return
            shown = frame
        # The decoder's last frame fills what is left: its own slots and at most the tolerated missing ones.
        if shown is None or stop_frame - slot > self._grid.last_slots + _MOST_MISSING_FRAMES:
            raise MediaError(FaultCode.MEDIA_UNREADABLE, f"Only {slot} of {stop_frame} frames could be decoded.")
        while slot < stop_frame:
            yield slot, shown
            slot += 1

    def _decoded_from(self, start_frame: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield decoded frames with their slots; the first is the one on the screen at `start_frame`, or before it."""
        if start_frame:
            decoded = self._decoded(seek_to=start_frame)
            first = next(decoded, None)
            # Some containers (MPEG-TS, AVI) seek past what was asked: then read from the start instead.
            if first is not None and first[0] <= start_frame:
                yield first
                yield from decoded
                return
        yield from self._decoded(seek_to=0)

    def _decoded(self, *, seek_to: int) -> Iterator[tuple[int, av.VideoFrame]]:
        # Opened anew: seeking back to the start misses it in containers without an index.
        self._container.close()
        self._container = open_media(self._path)
        self._stream = video_stream(self._container)
        self._stream.thread_type = "AUTO"
        self._stream.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
        time_base = self._stream.time_base or Fraction(1)
        next_index = 0
        if seek_to:
            seconds = self._grid.start_seconds + seek_to / self._grid.fps
            try:
                self._container.seek(int(seconds / time_base), stream=self._stream, backward=True)
            except FFmpegError:
                # A file without an index: nothing is found this way, which the caller knows how to answer.
                return
        with reading():
            frames = self._like_the_first(self._container.decode(self._stream))
            for frame in deinterlaced(frames) if self._deinterlace else frames:
                # Without a time of its own a frame follows the one before it.
                clock = frame.time_base or time_base
                index = next_index if frame.pts is None else self._grid.index_at(frame.pts * clock)
                next_index = index + 1
                yield index, frame

    def _like_the_first(self, frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        """Pass frames on that are whole and of the first one's kind."""
        for frame in frames:
            if frame.is_corrupt:
                raise MediaError(FaultCode.MEDIA_UNREADABLE, "A frame is damaged.")
            kind = _Kind.of(frame)
            self._kind = self._kind or kind
            self._kind.require_of(kind)
            self.has_interlaced = self.has_interlaced or frame.interlaced_frame
            yield frame

    def _frame(self, index: int, frame: av.VideoFrame) -> Frame:
        pixels = Orientation.of(frame).applied(self._developer.develop(frame))
        return Frame(index, Fraction(index) / self._grid.fps, pixels)

    def _describe(self, frame: av.VideoFrame) -> VideoInfo:
        lies = Orientation.of(frame).transposed
        return VideoInfo(
            width=frame.height if lies else frame.width,
            height=frame.width if lies else frame.height,
            fps=self._grid.fps,
            frame_count=self._grid.frame_count,
            duration_seconds=float(self._grid.frame_count / self._grid.fps),
            codec=self._stream.codec_context.name,
            rotation_degrees=Orientation.of(frame).turn_degrees,
        )


class _ByTags:
    """Develops frames by the matrix and range that they are tagged with."""

    def __init__(self) -> None:
        self._to_bgr = VideoReformatter()

    def develop(self, frame: av.VideoFrame, /) -> NDArray[np.uint8]:
        # In planes: swscale has no vector code for chroma between its samples in packed pixels; the same bits (of odd
        # widths within one level) in half the time (measured).
        planar = self._to_bgr.reformat(frame, format="gbrp", src_colorspace=_matrix(frame), interpolation=YUV_TO_BGR)
        green, blue, red = map(_pixels_of, planar.planes)
        return np.asarray(cv2.merge([blue, green, red]), np.uint8)


def _pixels_of(plane: VideoPlane) -> NDArray[np.uint8]:
    """Look at a plane of bytes: (height, width), not a copy."""
    # A buffer, which its annotations do not say.
    row_bytes = np.frombuffer(cast("memoryview[int]", plane), np.uint8).reshape(plane.height, plane.line_size)
    return row_bytes[:, : plane.width]


def _matrix(frame: av.VideoFrame) -> int | None:
    """The matrix to decode with where the frame names none; None leaves it to the tag."""
    if frame.colorspace != _UNSPECIFIED_MATRIX:
        return None
    is_hd = frame.width > _SD_WIDTH or frame.height > _SD_HEIGHT
    return Colorspace.ITU709 if is_hd else Colorspace.ITU601
