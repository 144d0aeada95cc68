"""What the gate decides by: a file's facts, found without decoding more than one frame of it.

Every limit is checked here before the cost that it limits: bytes before opening, streams before packets, pixels before
the first frame, length and rate before the rest.
"""

import os
import stat
from array import array
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError, reading
from gpu_tasks.media.grid import find_grid
from gpu_tasks.media.limits import MediaLimits
from gpu_tasks.media.opening import WITH_A_CLOCK, audio_stream, moving_pictures, open_media, video_stream
from gpu_tasks.media.orientation import Orientation

# Pixels of television are up to 64:45 wide; a file that says much more does not know.
_MOST_STRETCHED = 4
# A packet of sound that lasts so many times as long as others has a gap behind it.
_LONG = 2
_LEAST_PIXEL_BITS, _UNTOLD_RATIO = 8, Fraction(0)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Examined(_Model):
    """A file that we named ourselves, and what is allowed of it."""

    path: Path
    limits: MediaLimits


class PictureFacts(_Model):
    """The stream of moving pictures that is looked at; `place` counts those of the file from 0."""

    place: int
    of: int


class TrackFacts(_Model):
    """The track that is listened to; `place` counts the tracks of the file from 0."""

    place: int
    of: int
    codec: str
    sample_rate: int
    channels: int


class VideoFacts(_Model):
    """Facts of a video. `width` and `height` are as stored; codes of colour are those of H.273.

    `longest_reach`: most frames that are decoded to show one: those from a keyframe to the next.
    """

    container: str
    codec: str
    width: int
    height: int
    pixel_shape: Fraction
    pixel_bits: int
    orientation: Orientation
    transfer: int
    primaries: int
    is_interlaced: bool
    fps: Fraction
    frame_count: int
    is_constant: bool
    longest_reach: int
    picture: PictureFacts
    track: TrackFacts | None

    @property
    def seconds(self) -> float:
        return float(self.frame_count / self.fps)


class AudioFacts(_Model):
    """Facts of a sound. `seconds` are those from its first packet to its last, `gap_seconds` those without a packet."""

    container: str
    track: TrackFacts
    seconds: float
    gap_seconds: float


class _Span(NamedTuple):
    seconds: float
    gap_seconds: float


def require_plain_file(path: Path, limits: MediaLimits) -> None:
    """Make sure that a path is a file of its own (no link, device or pipe) and not too large.

    Raises:
        MediaError: OBJECT_MISSING, MEDIA_UNSUPPORTED, OBJECT_EMPTY or OBJECT_TOO_LARGE.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError as error:
        raise MediaError(FaultCode.OBJECT_MISSING) from error
    if not stat.S_ISREG(found.st_mode):
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "It is no plain file.")
    if not found.st_size:
        raise MediaError(FaultCode.OBJECT_EMPTY)
    if found.st_size > limits.max_bytes:
        raise MediaError(FaultCode.OBJECT_TOO_LARGE, f"{found.st_size} bytes; the limit is {limits.max_bytes}.")


def examine_video(file: Examined) -> VideoFacts:
    """Find the facts of a video.

    Raises:
        MediaError: What is beyond the limits, or no video.
    """
    limits = file.limits
    with open_media(file.path) as container:
        _require_few_streams(container, limits)
        stream = video_stream(container)
        _require_frame_size(stream.codec_context.width, stream.codec_context.height, limits)
        most_packets = int(limits.max_seconds * limits.max_fps) + 1
        grid = find_grid(container, stream, most_packets=most_packets)
        if not limits.min_fps <= grid.fps <= limits.max_fps:
            raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{float(grid.fps):.3f} frames per second is not a video.")
        _require_short(float(grid.frame_count / grid.fps), limits)
        name, codec = container.format.name, stream.codec_context.codec.canonical_name
    # Opened anew: seeking back to the start misses it in containers without an index.
    with open_media(file.path) as container:
        stream = video_stream(container)
        frame = _first_frame(container, stream)
        # A decoder knows better than the container what it is about to return.
        _require_frame_size(frame.width, frame.height, limits)
        sound = audio_stream(container)
        return VideoFacts(
            container=name,
            codec=codec,
            width=frame.width,
            height=frame.height,
            pixel_shape=pixel_shape(stream),
            pixel_bits=max((component.bits for component in frame.format.components), default=_LEAST_PIXEL_BITS),
            orientation=Orientation.of(frame),
            transfer=int(frame.color_trc),
            primaries=int(frame.color_primaries),
            is_interlaced=frame.interlaced_frame,
            fps=grid.fps,
            frame_count=grid.frame_count,
            is_constant=grid.is_constant,
            longest_reach=grid.longest_reach,
            picture=_picture(container, stream),
            track=_track(container, sound, limits) if sound is not None else None,
        )


def examine_audio(file: Examined) -> AudioFacts:
    """Find the facts of a sound; a video beside it is not looked at.

    Raises:
        MediaError: What is beyond the limits, or no sound.
    """
    with open_media(file.path) as container:
        _require_few_streams(container, file.limits)
        stream = audio_stream(container)
        if stream is None:
            raise MediaError(FaultCode.NO_AUDIO_STREAM)
        facts = _track(container, stream, file.limits)
        span = _span(container, stream)
        _require_short(span.seconds, file.limits)
        return AudioFacts(
            container=container.format.name, track=facts, seconds=span.seconds, gap_seconds=span.gap_seconds
        )


def _require_few_streams(container: InputContainer, limits: MediaLimits) -> None:
    if len(container.streams) > limits.max_streams:
        count = len(container.streams)
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{count} streams; the limit is {limits.max_streams}.")


def _require_frame_size(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side_px:
        raise MediaError(FaultCode.PICTURE_TOO_LARGE, f"Its frames have {width}x{height} pixels.")
    # 0 is not told yet; the decoder will.
    if 0 < min(width, height) < limits.min_side_px:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"{width}x{height} pixels are too few.")


def _require_short(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.max_seconds:
        raise MediaError(FaultCode.MEDIA_TOO_LONG, f"{seconds:.0f} s; the limit is {limits.max_seconds:g} s.")


def _first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    with reading():
        frame = next(container.decode(stream), None)
    if frame is None:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "No frame could be decoded.")
    return frame


def _picture(container: InputContainer, stream: VideoStream) -> PictureFacts:
    pictures = moving_pictures(container)
    return PictureFacts(place=pictures.index(stream), of=len(pictures))


def pixel_shape(stream: VideoStream) -> Fraction:
    """Width of a pixel over its height; 1 where it is not told."""
    shape = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or _UNTOLD_RATIO
    if shape <= 0:
        return Fraction(1)
    if not Fraction(1, _MOST_STRETCHED) <= shape <= _MOST_STRETCHED:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"Its pixels are {shape} times as wide as high.")
    return shape


def _track(container: InputContainer, stream: AudioStream, limits: MediaLimits) -> TrackFacts:
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.layout.nb_channels
    if not limits.min_sample_rate <= rate <= limits.max_sample_rate:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"Its sound has {rate} samples per second.")
    if not 0 < channels <= limits.max_channels:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, f"Its sound has {channels} channels.")
    tracks = list(container.streams.audio)
    return TrackFacts(
        place=tracks.index(stream),
        of=len(tracks),
        codec=stream.codec_context.codec.canonical_name,
        sample_rate=rate,
        channels=channels,
    )


def _span(container: InputContainer, stream: AudioStream) -> _Span:
    """Read all packets of a track and return how long it lasts, and how much of that its packets leave out."""
    time_base = stream.time_base or Fraction(1)
    starts, lasting = array("q"), array("q")
    with reading():
        for packet in container.demux(stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and not packet.is_discard:
                starts.append(stamp)
                lasting.append(packet.duration or 0)
    if not starts:
        raise MediaError(FaultCode.NO_AUDIO_STREAM, "Its sound is empty.")
    begin, length = np.frombuffer(starts, dtype=np.int64), np.frombuffer(lasting, dtype=np.int64)
    span = max(int((begin + length).max() - begin.min()), 0)
    heard = span
    if container.format.name in WITH_A_CLOCK:
        # In an MP4 a packet lasts until the next one comes, whatever is in it.
        usual = int(np.median(length))
        heard = min(span, int(np.where(length > _LONG * usual, usual, length).sum()))
    return _Span(float(span * time_base), float((span - heard) * time_base))
