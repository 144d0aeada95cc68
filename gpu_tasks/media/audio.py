"""Sound of any layout and rate as plain samples."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError, reading
from gpu_tasks.media.opening import audio_stream, open_media


def load_mono(path: Path, *, sample_rate: int = 16_000) -> NDArray[np.float32]:
    """Decode, mix down and resample the first audio stream of a file.

    Time 0 is the first sample; encoder delay that the container states is cut. Samples that are no numbers (NaN,
    infinite) become silence before they are mixed, what is beyond full scale is clipped.

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
        frames = resampled(container, stream, layout="mono", sample_rate=sample_rate)
        pieces = [np.asarray(frame.to_ndarray()[0], dtype=np.float32) for frame in frames]
    if not pieces:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    return np.clip(np.concatenate(pieces), -1.0, 1.0)


def audio_seconds(path: Path) -> float:
    """Return the exact length of the first audio stream, from its decoded samples.

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
    """Decode a stream to its end and return its length; 0 when it holds nothing."""
    with reading():
        return sum((Fraction(frame.samples, frame.sample_rate) for frame in container.decode(stream)), Fraction(0))


def resampled(
    container: InputContainer, stream: AudioStream, *, layout: str, sample_rate: int
) -> Iterator[av.AudioFrame]:
    """Stream a track as planar float32 frames of another layout and rate, nothing lost at the end.

    Raises:
        MediaError: MEDIA_UNREADABLE when the stream is damaged.
    """
    resampler = AudioResampler(format="fltp", layout=layout, rate=sample_rate)
    with reading():
        for frame in container.decode(stream):
            yield from resampler.resample(_cleaned(frame))
        # The filter holds back its last samples until it is told that there are no more.
        yield from resampler.resample(None)


def _cleaned(frame: av.AudioFrame) -> av.AudioFrame:
    """Silence samples that are no numbers: one of them would spread over the whole filter length."""
    samples = frame.to_ndarray()
    if samples.dtype.kind != "f" or np.isfinite(samples).all():
        return frame
    finite = np.nan_to_num(samples.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    cleaned = av.AudioFrame.from_ndarray(
        finite, format="fltp" if frame.format.is_planar else "flt", layout=frame.layout.name
    )
    cleaned.sample_rate, cleaned.pts, cleaned.time_base = frame.sample_rate, frame.pts, frame.time_base
    return cleaned
