"""Sound of any layout and rate as plain samples, on the clock of the picture it belongs to."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError, reading
from gpu_tasks.media.opening import audio_stream, open_media, picture_stream
from gpu_tasks.media.placing import MOST_SILENCE_SECONDS, like, placed, seconds_of, without_gaps

# Editors go a little beyond 1 in between; 24 dB more is another number format, or an attack.
_LOUDEST = 16.0
# For floating point FFmpeg mixes down to more than full scale (1.4 times for stereo), which would then be clipped.
_QUIET_DOWNMIX = {"rematrix_maxval": "1.0"}


def load_mono(path: Path, *, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """Decode, mix down and resample the first audio stream of a file.

    Time 0 is the first video frame where the file has video, else the first sample; encoder delay that the container
    states is cut. Where the clock of MP4, Matroska or MPEG-TS leaves a gap of more than 15 ms there is silence, and
    what lies over sound that was heard already is left out, so that the rest stays where it belongs. Samples that are
    no numbers (NaN, infinite) become silence before they are mixed, what is beyond full scale is clipped.

    Args:
        path: A local file.
        sample_rate: Of the result, in Hz.

    Returns:
        float32 (n,), -1..1, mono. n is the decoded length at the new rate, to within one sample.

    Raises:
        MediaError: NO_AUDIO_STREAM when there is none or it is empty, MEDIA_UNREADABLE when it is damaged.
    """
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise MediaError(FaultCode.NO_AUDIO_STREAM)
        pieces = list(resampled(container, stream, layout="mono", sample_rate=sample_rate))
    if not pieces:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    mono: NDArray[np.float32] = np.concatenate(pieces, axis=1)[0]
    return mono


def audio_seconds(path: Path) -> float:
    """Return the exact length of the first audio stream, from its decoded samples, with time 0 as in `load_mono`.

    Raises:
        MediaError: NO_AUDIO_STREAM when there is none or it is empty, MEDIA_UNREADABLE when it is damaged.
    """
    with open_media(path) as container:
        stream = audio_stream(container)
        seconds = decoded_seconds(container, stream) if stream is not None else Fraction(0)
    if not seconds:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    return float(seconds)


def decoded_seconds(container: InputContainer, stream: AudioStream) -> Fraction:
    """Decode a stream to its end and return when it ends; 0 when it holds nothing."""
    end: Fraction | None = None
    with reading():
        for shift, frame in placed(container, stream):
            if end is None:
                end = _lead_seconds(container, frame)
            end += max(shift + seconds_of(frame), Fraction(0))
    return max(end or Fraction(0), Fraction(0))


class Heard(NamedTuple):
    """A track as it was decoded: `seconds` are those of its samples, whatever its clock says.

    `has_bad_samples`: some are no numbers, or far beyond full scale; only PCM of floats can hold such.
    `has_gaps`: its clock leaves some out, or says that some lie over others.
    """

    seconds: Fraction
    has_bad_samples: bool
    has_gaps: bool


def hear(container: InputContainer, stream: AudioStream) -> Heard:
    """Decode a track to its end.

    Raises:
        MediaError: MEDIA_UNREADABLE when the stream is damaged.
    """
    may_be_bad = stream.codec_context.codec.canonical_name.startswith("pcm_f")
    seconds, is_bad, has_gaps = Fraction(0), False, False
    with reading():
        for shift, frame in placed(container, stream):
            seconds += seconds_of(frame)
            has_gaps = has_gaps or bool(shift)
            # A comparison with NaN is false.
            is_bad = is_bad or (may_be_bad and not (np.abs(frame.to_ndarray()) <= _LOUDEST).all())
    return Heard(seconds, is_bad, has_gaps)


def resampled(
    container: InputContainer, stream: AudioStream, *, layout: str, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Stream a track in another layout and rate from time 0 on, gaps filled, nothing lost at the end.

    Args:
        container: The opened file.
        stream: Its track.
        layout: FFmpeg's name of the channel layout of the result.
        sample_rate: Of the result, in Hz.

    Yields:
        float32 (channels, n), -1..1; pieces of any length.

    Raises:
        MediaError: MEDIA_UNREADABLE when the stream is damaged.
    """
    with reading():
        decoded = placed(container, stream)
        first = next(decoded, None)
    if first is None:
        return
    channels = AudioLayout(layout).nb_channels
    lead = round(_lead_seconds(container, first.frame) * sample_rate)
    if lead > 0:
        yield np.zeros((channels, lead), dtype=np.float32)
    surplus = max(0, -lead)
    resampler = AudioResampler(format="fltp", layout=layout, rate=sample_rate, options=_QUIET_DOWNMIX)
    for frame in _converted(without_gaps(chain((first,), decoded)), resampler):
        samples = np.clip(np.asarray(frame.to_ndarray(), dtype=np.float32), -1.0, 1.0)
        kept = samples[:, surplus:]
        surplus = max(0, surplus - samples.shape[1])
        if kept.size:
            yield kept


def _converted(frames: Iterable[av.AudioFrame], resampler: AudioResampler) -> Iterator[av.AudioFrame]:
    with reading():
        for frame in frames:
            yield from resampler.resample(_cleaned(frame))
        # The filter holds back its last samples until it is told that there are no more.
        yield from resampler.resample(None)


def starts_with_its_clock(container: InputContainer, stream: AudioStream) -> bool:
    """Tell whether time 0 of the file is also time 0 of its picture (or, without one, of its sound)."""
    return not (picture_stream(container) or stream).start_time


def _lead_seconds(container: InputContainer, first: av.AudioFrame) -> Fraction:
    """By how much the first decoded sound comes after the first picture (negative: before it)."""
    picture = picture_stream(container)
    if picture is None or picture.start_time is None or first.pts is None or first.time_base is None:
        return Fraction(0)
    lead = first.pts * first.time_base - picture.start_time * (picture.time_base or Fraction(1))
    if lead > MOST_SILENCE_SECONDS:
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "Its sound starts long after its picture.")
    return lead


def _cleaned(frame: av.AudioFrame) -> av.AudioFrame:
    """Silence samples that are no numbers: one of them would spread over the whole filter length."""
    samples = frame.to_ndarray()
    if samples.dtype.kind != "f" or np.isfinite(samples).all():
        return frame
    return like(frame, np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0))
