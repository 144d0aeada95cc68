"""Parts of a video put in a row without encoding again, and the sound laid under them once."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.media import AudioInfo, MediaInfo
from gpu_tasks.contract.sniffing import MOV
from gpu_tasks.media.audio import hear, resampled, starts_with_its_clock
from gpu_tasks.media.errors import MediaError, reading, writing
from gpu_tasks.media.opening import audio_stream, open_media, video_stream
from gpu_tasks.media.probe import probe
from gpu_tasks.replacing import appearing_whole

# In quotes: Packet is generic to the type checker only.
AnyPacket: TypeAlias = "Packet[VideoStream] | Packet[AudioStream]"

SAMPLE_RATE = 48_000
_STEREO = 2
_AAC_FRAME_SAMPLES = 1024
_AAC_BITS_PER_SECOND_PER_CHANNEL = 96_000


class _Part(NamedTuple):
    """A part as it was found: how many frames, and by how many its decoding runs ahead of its display."""

    path: Path
    parameter_sets: bytes
    frame_count: int
    reorder_depth: int


def join(  # noqa: PLR0913  # what lies where, each by name
    parts: Sequence[Path],
    *,
    destination: Path,
    fps: Fraction,
    audio_from: Path | None,
    duration_seconds: float,
    audio_start_seconds: Fraction = Fraction(0),
) -> MediaInfo:
    """Put parts written by VideoWriter in a row, packets untouched, frame k of the whole at exactly k / fps.

    The sound becomes AAC at 48 kHz, mono for a mono source and stereo for every other, cut or filled with silence to
    the video's length, sample 0 under frame 0. The AAC track of an MP4 that already fits, to within half a frame or one
    AAC packet, is copied. How the video was cut into parts has no influence on the sound.

    Args:
        parts: MP4 files in order, all of one set of encoder settings.
        destination: Where the result goes; it appears when it is whole.
        fps: Frame rate of the parts.
        audio_from: A file whose first audio stream is laid under the video; None for a silent result.
        duration_seconds: What the result is expected to last.
        audio_start_seconds: The time of the sound that lies under frame 0: where the target keeps its own sound and was
            trimmed, the time of the first frame used.

    Returns:
        The result, probed.

    Raises:
        MediaError: MEDIA_UNSUPPORTED when the parts were encoded with different settings, MEDIA_UNREADABLE when one is
            damaged or the sound is, AUDIO_MERGE_FAILED when a sound was asked for and the result would have none,
            RESULT_MISSING when the parts do not add up to the expected length, DISK_FULL.
    """
    found = [_inspect(part, fps) for part in parts]
    if len({part.parameter_sets for part in found}) != 1:
        raise MediaError(FaultCode.MEDIA_UNSUPPORTED, "The segments were encoded with different settings.")
    frame_count = sum(part.frame_count for part in found)
    if abs(frame_count / fps - Fraction(duration_seconds)) > Fraction(1, 2) / fps:
        raise MediaError(
            FaultCode.RESULT_MISSING, f"{frame_count} frames are not {duration_seconds:.3f} seconds of video."
        )
    with appearing_whole(destination) as partial:
        with writing():
            sound = None if audio_from is None else _Sound(audio_from, audio_start_seconds, frame_count / fps, 1 / fps)
            _write(found, partial, fps, sound)
        _verify(partial, fps, frame_count)
        result = probe(partial)
        if audio_from is not None and (result.audio is None or not result.audio.duration_seconds):
            raise MediaError(FaultCode.AUDIO_MERGE_FAILED)
    return result


class _Sound(NamedTuple):
    """What of a file's sound lies under the video: from `start`, for `seconds`, both exact."""

    path: Path
    start: Fraction
    seconds: Fraction
    frame_seconds: Fraction

    @property
    def sample_count(self) -> int:
        return int(self.seconds * SAMPLE_RATE + Fraction(1, 2))

    def is_fitted_by(self, track: AudioInfo) -> bool:
        """Tell whether a track can stay as it is: encoders fill the last packet, which is no reason to cut it."""
        tolerance = max(self.frame_seconds / 2, Fraction(_AAC_FRAME_SAMPLES, track.sample_rate))
        return not self.start and abs(Fraction(track.duration_seconds) - self.seconds) <= tolerance


def _inspect(path: Path, fps: Fraction) -> _Part:
    """Read a part's packets and make sure that its frames lie on the grid without a hole."""
    with open_media(path) as container, reading():
        stream = video_stream(container)
        shown = [_slot(packet.pts, stream, fps) for packet in container.demux(stream) if packet.pts is not None]
        if not shown or sorted(shown) != list(range(len(shown))):
            raise MediaError(FaultCode.MEDIA_UNREADABLE, "The frames of a segment have holes between them.")
        return _Part(
            path=path,
            parameter_sets=bytes(stream.codec_context.extradata or b""),
            frame_count=len(shown),
            reorder_depth=max(order - slot for order, slot in enumerate(shown)),
        )


def _verify(path: Path, fps: Fraction, frame_count: int) -> None:
    """Make sure that what was written has every frame at its exact time: nothing may drift over hours."""
    with open_media(path) as container, reading():
        stream = video_stream(container)
        clock, start = Fraction(stream.time_base or 0), stream.start_time or 0
        times = sorted((packet.pts - start) * clock for packet in container.demux(stream) if packet.pts is not None)
    # A clock need not have a tick at k / fps; being off by one is not drift, and at k / fps it is the nearest tick.
    is_exact = all(abs(time - place / fps) <= clock / 2 for place, time in enumerate(times))
    if len(times) != frame_count or not is_exact:
        raise MediaError(FaultCode.RESULT_MISSING, f"{len(times)} of {frame_count} frames were joined, or not in time.")


def _slot(stamp: int, stream: VideoStream, fps: Fraction) -> int:
    return round((stamp - (stream.start_time or 0)) * (stream.time_base or 0) * fps)


def _write(parts: Sequence[_Part], path: Path, fps: Fraction, sound: _Sound | None) -> None:
    with ExitStack() as stack:
        output = stack.enter_context(
            av.open(f"file:{path.resolve()}", mode="w", format="mp4", options={"movflags": "+faststart"})
        )
        template = stack.enter_context(open_media(parts[0].path))
        video = output.add_stream_from_template(video_stream(template))
        tracks = [_video_packets(parts, video, fps)]
        if sound is not None:
            tracks.append(_sound_packets(sound, output, stack))
        # In order of decoding, so that the muxer never has to hold one track back for the other.
        for packet in heapq.merge(*tracks, key=lambda packet: (packet.dts or 0) * packet.time_base):
            output.mux(packet)


def _video_packets(parts: Sequence[_Part], target: VideoStream, fps: Fraction) -> Iterator[AnyPacket]:
    """Yield all packets in order, stamped anew from their frame numbers: no rounding adds up from part to part."""
    # One depth for all: a short part reorders less, and its decoding times would run into those of its neighbours.
    depth = max(part.reorder_depth for part in parts)
    offset = 0
    for part in parts:
        with open_media(part.path) as container, reading():
            stream = video_stream(container)
            packets = (packet for packet in container.demux(stream) if packet.pts is not None)
            for order, packet in enumerate(packets):
                packet.pts, packet.dts = offset + _slot(packet.pts or 0, stream, fps), offset + order - depth
                packet.duration, packet.time_base = 1, 1 / fps
                packet.stream = target
                yield packet
        offset += part.frame_count


def _sound_packets(sound: _Sound, output: OutputContainer, stack: ExitStack) -> Iterator[AnyPacket]:
    """Add the audio track to the output and return its packets, copied where they fit and encoded otherwise."""
    found = probe(sound.path).audio
    container = stack.enter_context(open_media(sound.path))
    stream = audio_stream(container)
    if found is None or stream is None or not found.duration_seconds:
        raise MediaError(FaultCode.AUDIO_MERGE_FAILED, "There is no sound in the file it was to come from.")
    fits = sound.is_fitted_by(found) and starts_with_its_clock(container, stream)
    is_plain = found.codec == "aac" and found.channels <= _STEREO and container.format.name == MOV.name
    if fits and is_plain and not _has_gaps(sound.path):
        return _copied(container, stream, output.add_stream_from_template(stream))
    layout = "mono" if found.channels == 1 else "stereo"
    pieces = resampled(container, stream, layout=layout, sample_rate=SAMPLE_RATE)
    channels = 1 if layout == "mono" else _STEREO
    track = output.add_stream("aac", rate=SAMPLE_RATE, layout=layout)
    track.bit_rate = channels * _AAC_BITS_PER_SECOND_PER_CHANNEL
    wanted = _fitted(_without_start(pieces, round(sound.start * SAMPLE_RATE)), channels, sound.sample_count)
    return _encoded(wanted, track, layout)


def _has_gaps(path: Path) -> bool:
    """Tell whether players would have to guess: some skip a gap of the clock, and all sound after it comes early."""
    with open_media(path) as container:
        stream = audio_stream(container)
        return stream is not None and hear(container, stream).has_gaps


def _copied(container: InputContainer, source: AudioStream, target: AudioStream) -> Iterator[AnyPacket]:
    with reading():
        for packet in container.demux(source):
            if packet.dts is not None:
                packet.stream = target
                yield packet


def _encoded(pieces: Iterator[NDArray[np.float32]], track: AudioStream, layout: str) -> Iterator[AnyPacket]:
    position = 0
    for block in _blocks(pieces):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        # Without a time on every frame the muxer writes no edit list, and all sound comes 21 ms late (measured).
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, position, Fraction(1, SAMPLE_RATE)
        position += frame.samples
        yield from track.encode(frame)
    yield from track.encode(None)


def _without_start(pieces: Iterator[NDArray[np.float32]], sample_count: int) -> Iterator[NDArray[np.float32]]:
    """Leave out the first samples of pieces of (channels, n)."""
    left = sample_count
    for piece in pieces:
        if left < piece.shape[1]:
            yield piece[:, left:]
        left -= min(left, piece.shape[1])


def _fitted(pieces: Iterator[NDArray[np.float32]], channels: int, sample_count: int) -> Iterator[NDArray[np.float32]]:
    """Cut pieces of (channels, n) samples, or add silence, until they are `sample_count` long together."""
    left = sample_count
    for piece in pieces:
        yield piece[:, :left]
        left -= min(left, piece.shape[1])
        if not left:
            return
    while left:
        silence = min(left, SAMPLE_RATE)
        yield np.zeros((channels, silence), dtype=np.float32)
        left -= silence


def _blocks(pieces: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Cut pieces of (channels, n) samples into the encoder's frames; the last may be shorter."""
    pending: NDArray[np.float32] | None = None
    for piece in pieces:
        pending = piece if pending is None else np.concatenate((pending, piece), axis=1)
        while pending.shape[1] >= _AAC_FRAME_SAMPLES:
            yield pending[:, :_AAC_FRAME_SAMPLES]
            pending = pending[:, _AAC_FRAME_SAMPLES:]
    if pending is not None and pending.shape[1]:
        yield pending
