"""H.264 in MP4: one way to encode, so that segments of equal settings can be joined without encoding again."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Quality
from gpu_tasks.media.conversion import BGR_TO_YUV
from gpu_tasks.media.errors import MediaError, writing

X264 = "libx264"
NVENC = "h264_nvenc"
DEFAULT_PRESET = "veryfast"
# H.273: 1 is BT.709 in each of matrix, primaries and transfer.
_BT709 = 1
# OpenCV's number of the feature (its Python module has no name for it).
_AVX_512F = 13
# On AVX-512 the macroblock tree of x264 gives other bytes each time for the same frames (measured: with AVX2 and
# below it gives the same); a result that was computed twice could then not be compared.
_SAME_EVERY_TIME = ":asm=AVX2" if cv2.checkHardwareSupport(_AVX_512F) else ""
# Two seconds at 30 fps: short enough to seek, long enough to cost nothing.
_GOP_FRAMES = 60
_X264_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
)
_NVENC_PRESETS = ("p1", "p2", "p3", "p4", "p5", "p6", "p7")
# NVENC has its own names; the others' speed is asked for by its middle preset.
_NVENC_DEFAULT_PRESET = "p4"
# Near-lossless between stages, visually lossless in the delivered file.
_RATE_FACTOR: Mapping[Quality, int] = {Quality.INTERMEDIATE: 10, Quality.DELIVERY: 18}


class _Encoder(NamedTuple):
    """A codec name and its options."""

    name: str
    options: dict[str, str]


class VideoWriter:
    """Encodes frames to an MP4 file at a constant frame rate; a context.

    The file has H.264 (yuv420p, converted to and tagged as BT.709 limited range), no sound, closed GOPs, its index in
    front, and appears under its name only when it is whole. Equal settings give equal parameter sets, so that parts
    written by different processes can be joined.

    4:2:0 needs even sizes: of an odd width or height the last column or row is cut here, and nowhere else.

    Args:
        path: Where the file goes. Nothing is left there or beside it when the context is left by an error.
        width: Of the frames that will be written, in pixels.
        height: The same.
        fps: Exact frame rate.
        quality: Near-lossless between stages, delivery quality for the last encode.
        encoder: "libx264" or "h264_nvenc"; the latter falls back to libx264 where there is no GPU for it.
        preset: Speed of the encoder, by its own names.

    Attributes:
        encoder: The one that really runs.
        width: Encoded width, even.
        height: Encoded height, even.
        frame_count: Frames written so far.

    Raises:
        MediaError: OPTION_UNSUPPORTED for another encoder or preset, DISK_FULL when there is no space left.
    """

    def __init__(  # noqa: PLR0913  # the settings of an encode, each with a name
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: Fraction,
        quality: Quality = Quality.DELIVERY,
        encoder: str = X264,
        preset: str = DEFAULT_PRESET,
    ) -> None:
        self.width, self.height = width // 2 * 2, height // 2 * 2
        self.frame_count = 0
        self._path = path
        self._frame_shape = (height, width, 3)
        self._frame_seconds = 1 / fps
        chosen = self._choose(encoder, preset, quality)
        self.encoder = chosen.name
        self._to_yuv = VideoReformatter()
        # A reader must never find half a file under the real name.
        self._partial = path.with_name(f"{path.name}.partial")
        with writing():
            self._container = av.open(
                f"file:{self._partial.resolve()}", mode="w", format="mp4", options={"movflags": "+faststart"}
            )
        self._stream = cast("VideoStream", self._container.add_stream(chosen.name, rate=fps, options=chosen.options))
        self._prepare(self._stream.codec_context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self._finish()
        except BaseException:
            self.discard()
            raise

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Encode the next frame.

        Args:
            pixels: HWC uint8 BGR of the width and height given at the start.

        Raises:
            ValueError: Another shape or dtype.
            MediaError: DISK_FULL when there is no space left.
        """
        if pixels.shape != self._frame_shape or pixels.dtype != np.uint8:
            raise ValueError(f"a frame of {self._frame_shape} uint8 was promised, not {pixels.shape} {pixels.dtype}")
        even = np.ascontiguousarray(pixels[: self.height, : self.width])
        frame = self._to_yuv.reformat(
            # Not a copy: the frame lives no longer than this call.
            av.VideoFrame.from_numpy_buffer(even, format="bgr24"),
            format="yuv420p",
            # Tagging without converting (or the reverse) is the usual cause of shifted skin colours: do both.
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=BGR_TO_YUV,
        )
        frame.pts, frame.time_base = self.frame_count, self._frame_seconds
        with writing():
            self._container.mux(self._stream.encode(frame))
        self.frame_count += 1

    def discard(self) -> None:
        """Stop and leave nothing behind."""
        try:
            with writing():
                self._container.close()
        except (FFmpegError, MediaError, OSError):
            # The trailer of a file that is thrown away need not be writable.
            pass
        self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if not self.frame_count:
            raise MediaError(FaultCode.INTERNAL, "A video without frames was to be written.")
        with writing():
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._partial.replace(self._path)

    def _choose(self, encoder: str, preset: str, quality: Quality) -> _Encoder:
        factor = str(_RATE_FACTOR[quality])
        # The conversion centres chroma between its luma pixels; a reader that is not told takes it for left of them and
        # shifts all colours by half a pixel in every generation.
        params = f"open-gop=0:chromaloc=1{_SAME_EVERY_TIME}"
        x264 = {"crf": factor, "preset": DEFAULT_PRESET, "g": str(_GOP_FRAMES), "x264-params": params}
        if encoder == X264:
            if preset not in _X264_PRESETS:
                raise MediaError(FaultCode.OPTION_UNSUPPORTED, f"{X264} has no preset {preset}.")
            return _Encoder(X264, {**x264, "preset": preset})
        if encoder != NVENC:
            raise MediaError(FaultCode.OPTION_UNSUPPORTED, f"Encoder {encoder} is not one of {X264}, {NVENC}.")
        speed = preset if preset in _NVENC_PRESETS else _NVENC_DEFAULT_PRESET
        nvenc = {"preset": speed, "rc": "constqp", "qp": factor, "g": str(_GOP_FRAMES), "strict_gop": "1"}
        return _Encoder(NVENC, nvenc) if self._opens(NVENC, nvenc) else _Encoder(X264, x264)

    def _opens(self, name: str, options: dict[str, str]) -> bool:
        trial = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
        trial.options = options
        self._prepare(trial)
        try:
            trial.open()
        except FFmpegError:
            # No driver, no GPU, no free session: each has its own error, and the answer is the same.
            return False
        return True

    def _prepare(self, context: VideoCodecContext) -> None:
        context.width, context.height, context.pix_fmt = self.width, self.height, "yuv420p"
        context.time_base, context.framerate = self._frame_seconds, 1 / self._frame_seconds
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = int(ColorRange.MPEG)
