"""The one pass that makes of a file what all stages can work with: near-lossless, and exact in time."""

import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Quality
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.sniffing import MOV
from gpu_tasks.media.audio import Heard, hear, resampled
from gpu_tasks.media.errors import MediaError, reading, writing
from gpu_tasks.media.join import AnyPacket
from gpu_tasks.media.opening import audio_stream, open_media, video_stream
from gpu_tasks.media.probe import probe, sound_of
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.tone import ToneMapper, Transfer
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.replacing import appearing_whole

# In quotes where it stands with Packet, which is generic to the type checker only.
StreamT = TypeVar("StreamT", VideoStream, AudioStream)

# Codecs that keep their packets when they move from one MP4 to another.
_KEPT_CODECS = frozenset({"aac", "mp3", "alac", "ac3", "eac3", "flac", "opus"})
_FLAC_LAYOUTS = frozenset({"mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"})
# 24 bits carry whatever a microphone does; FLAC and WAV both have them.
_SCALE_24_BIT = 1 << 23
_BLOCK_SAMPLES = 4096


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckedFile(_Model):
    """A file that is to be decoded from one end to the other."""

    path: Path


class VideoCheck(_Model):
    """The video that is used, and what decoding all of it (or of its source) showed.

    `has_gaps`: the clock of its sound leaves some out.
    """

    info: MediaInfo
    has_interlaced: bool
    has_gaps: bool


class SoundCheck(_Model):
    """What decoding a sound showed; see `audio.Heard`."""

    info: MediaInfo
    decoded_seconds: float
    has_bad_samples: bool
    has_gaps: bool


class VideoRecipe(_Model):
    """How a video is made anew. `width` and `height` are those of the result, upright.

    `tone_map`: the frames are not those of an SDR display; `transfer` is their curve, None that of SDR with other
    primaries. Every `keep_every`-th frame is kept.
    """

    source: Path
    destination: Path
    width: int
    height: int
    keep_every: int = 1
    tone_map: bool = False
    transfer: Transfer | None = None


class AudioRecipe(_Model):
    """How a sound is made anew."""

    source: Path
    destination: Path
    sample_rate: int
    layout: str


def check_video(file: CheckedFile) -> VideoCheck:
    """Decode everything in a file that is to be used as it is.

    Raises:
        MediaError: MEDIA_UNREADABLE when a part of it is damaged or missing, MEDIA_UNSUPPORTED when it changes midway.
    """
    with VideoReader(file.path) as reader:
        reader.check()
    heard = _heard(file.path)
    return VideoCheck(
        info=probe(file.path),
        has_interlaced=reader.has_interlaced,
        has_gaps=heard is not None and heard.has_gaps,
    )


def _heard(path: Path) -> Heard | None:
    with open_media(path) as container:
        sound = audio_stream(container)
        return hear(container, sound) if sound is not None else None


def check_audio(file: CheckedFile) -> SoundCheck:
    """Decode the sound of a file that is to be used as it is.

    Raises:
        MediaError: NO_AUDIO_STREAM when it is empty, MEDIA_UNREADABLE when it is damaged.
    """
    sound = sound_of(file.path)
    heard = _heard(file.path)
    if sound is None or heard is None:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    with open_media(file.path) as container:
        info = MediaInfo(container=container.format.name, size_bytes=file.path.stat().st_size, audio=sound)
    return SoundCheck(
        info=info,
        decoded_seconds=float(heard.seconds),
        has_bad_samples=heard.has_bad_samples,
        has_gaps=heard.has_gaps,
    )


def normalise_video(recipe: VideoRecipe) -> VideoCheck:
    """Write a video anew: H.264 crf 10 on its constant grid, its sound kept (AAC and others of an MP4) or lossless.

    Raises:
        MediaError: MEDIA_UNREADABLE when the source is damaged, MEDIA_UNSUPPORTED when it changes midway, DISK_FULL
            when there is no space left.
    """
    picture = recipe.destination.with_suffix(".picture")
    try:
        has_interlaced = _write_picture(recipe, picture)
        heard = _heard(recipe.source)
        if heard is None:
            picture.replace(recipe.destination)
        else:
            _lay_sound(picture, recipe, has_gaps=heard.has_gaps)
        return VideoCheck(
            info=probe(recipe.destination),
            has_interlaced=has_interlaced,
            has_gaps=heard is not None and heard.has_gaps,
        )
    finally:
        picture.unlink(missing_ok=True)


def _write_picture(recipe: VideoRecipe, picture: Path) -> bool:
    """Write the frames; return whether some of the source were interlaced, and are whole now."""
    developer = ToneMapper(recipe.transfer) if recipe.tone_map else None
    with (
        # Frames that are whole pass as they are: only some of a video may be interlaced.
        VideoReader(recipe.source, developer=developer, deinterlace=True) as reader,
        VideoWriter(
            picture,
            width=recipe.width,
            height=recipe.height,
            fps=reader.info.fps / recipe.keep_every,
            quality=Quality.INTERMEDIATE,
        ) as writer,
    ):
        for frame in reader:
            if frame.index % recipe.keep_every == 0:
                writer.write(_fitted(frame.pixels, recipe.width, recipe.height))
        return reader.has_interlaced


def _fitted(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Bring an upright frame to a size: by cutting a single column or row, else by scaling."""
    spare_y, spare_x = pixels.shape[0] - height, pixels.shape[1] - width
    if {spare_x, spare_y} <= {0, 1}:
        return pixels[:height, :width]
    shrinks = spare_x > 0 or spare_y > 0
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)


def _lay_sound(picture: Path, recipe: VideoRecipe, *, has_gaps: bool) -> None:
    """Put the sound beside the picture, at the time that it has in the source."""
    with (
        appearing_whole(recipe.destination) as partial,
        open_media(picture) as seen,
        open_media(recipe.source) as heard,
        writing(),
        av.open(f"file:{partial.resolve()}", "w", format="mp4", options={"movflags": "+faststart"}) as output,
    ):
        tracks: list[Iterator[AnyPacket]] = [
            _copied(seen, video_stream(seen), output, start=Fraction(0)),
            _sound(heard, output, has_gaps=has_gaps),
        ]
        # In order of decoding, so that the muxer never has to hold one track back for the other.
        for packet in heapq.merge(*tracks, key=lambda packet: (packet.dts or 0) * packet.time_base):
            output.mux(packet)


def _sound(heard: InputContainer, output: OutputContainer, *, has_gaps: bool) -> Iterator[AnyPacket]:
    """Add a track to the output and return its packets: copied where an MP4 can hold them, lossless otherwise."""
    sound = audio_stream(heard)
    if sound is None:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    is_kept = not has_gaps and sound.codec_context.codec.canonical_name in _KEPT_CODECS
    if is_kept and heard.format.name == MOV.name:
        picture = video_stream(heard)
        return _copied(heard, sound, output, start=(picture.start_time or 0) * (picture.time_base or Fraction(1)))
    layout = sound.codec_context.layout.name if sound.codec_context.layout.name in _FLAC_LAYOUTS else "stereo"
    track = output.add_stream("flac", rate=sound.codec_context.sample_rate, layout=layout)
    track.codec_context.format = "s32"
    return _encoded(heard, sound, track)


def _copied(
    container: InputContainer, stream: StreamT, output: OutputContainer, *, start: Fraction
) -> "Iterator[Packet[StreamT]]":
    """Add a track like another one; return the other's packets, with `start` (seconds) as time 0."""
    # Before the first packet is asked for: a track added after the header is written would be lost.
    return _shifted(container, stream, output.add_stream_from_template(stream), start)


def _shifted(
    container: InputContainer, stream: StreamT, track: StreamT, start: Fraction
) -> "Iterator[Packet[StreamT]]":
    shift = round(start / (stream.time_base or Fraction(1)))
    with reading():
        for packet in container.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, track
                yield packet


def _encoded(heard: InputContainer, sound: AudioStream, track: AudioStream) -> Iterator[AnyPacket]:
    context = track.codec_context
    rate, layout, position = context.sample_rate, context.layout.name, 0
    for piece in resampled(heard, sound, layout=layout, sample_rate=rate):
        for start in range(0, piece.shape[1], _BLOCK_SAMPLES):
            frame = _frame_24_bit(piece[:, start : start + _BLOCK_SAMPLES], layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            position += frame.samples
            yield from track.encode(frame)
    yield from track.encode(None)


def normalise_audio(recipe: AudioRecipe) -> MediaInfo:
    """Write a sound anew: a 24-bit WAV, its time 0 as in `load_mono`.

    Raises:
        MediaError: MEDIA_UNREADABLE when the source is damaged, DISK_FULL when there is no space left.
    """
    with (
        appearing_whole(recipe.destination) as partial,
        open_media(recipe.source) as heard,
        writing(),
        av.open(f"file:{partial.resolve()}", "w", format="wav") as output,
    ):
        sound = audio_stream(heard)
        if sound is None:
            raise MediaError(FaultCode.NO_AUDIO_STREAM)
        track = output.add_stream("pcm_s24le", rate=recipe.sample_rate, layout=recipe.layout)
        for packet in _encoded(heard, sound, track):
            output.mux(packet)
    return check_audio(CheckedFile(path=recipe.destination)).info


def _frame_24_bit(samples: NDArray[np.float32], layout: str) -> av.AudioFrame:
    """Make a packed 32-bit frame, lower 8 bits empty, of float32 (channels, n) samples in -1..1."""
    scaled = np.clip(np.rint(samples.T.astype(np.float64) * _SCALE_24_BIT), -_SCALE_24_BIT, _SCALE_24_BIT - 1)
    packed = np.ascontiguousarray(scaled.astype(np.int32).reshape(1, -1)) << 8
    return av.AudioFrame.from_ndarray(packed, format="s32", layout=layout)
