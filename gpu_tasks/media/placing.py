"""The decoded frames of a track, each where its clock puts it: gaps and overlaps are found, not counted away.

Counting samples alone would move all sound behind a lost packet to the front, and the lips with it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.sniffing import MOV
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.opening import WITH_A_CLOCK

# A track that starts later than this after the picture, or has longer gaps in all, is a broken clock, and filling it
# with silence would eat the memory. As long as the longest clip that is let in.
MOST_SILENCE_SECONDS = 600
# Less than the shortest packet that gets lost (20 ms of Opus), more than containers round (Matroska: 1 ms), and far
# from where sound is noticed to be early (45 ms, ITU-R BT.1359).
_TOLERANCE = Fraction(15, 1000)
# A browser's recorder stamps single packets late: a gap is one when what follows comes later, too.
_AGREEING_FRAMES = 4
_SILENCE_SAMPLES = 1 << 16


class Placed(NamedTuple):
    """A decoded frame, and by how many seconds it lies behind the end of the one before (negative: over it)."""

    shift: Fraction
    frame: av.AudioFrame


def placed(container: InputContainer, stream: AudioStream) -> Iterator[Placed]:
    """Decode a track and compare the time of every frame with the end of those before it.

    Raises:
        MediaError: MEDIA_UNREADABLE when the gaps are longer together than the longest clip.
    """
    has_clock = container.format.name in WITH_A_CLOCK
    frames = _frames(container, stream)
    ahead = deque(islice(frames, _AGREEING_FRAMES))
    end: Fraction | None = None
    silence = Fraction(0)
    while ahead:
        shift = Fraction(0)
        if end is None:
            end = _time(ahead[0]) or Fraction(0)
        elif has_clock:
            shift = _shift(ahead, end)
        silence += max(shift, Fraction(0))
        if silence > MOST_SILENCE_SECONDS:
            raise MediaError(FaultCode.MEDIA_UNREADABLE, "Its sound has gaps of many minutes.")
        frame = ahead.popleft()
        ahead.extend(islice(frames, 1))
        end += max(shift + seconds_of(frame), Fraction(0))
        yield Placed(shift, frame)


def _shift(ahead: Iterable[av.AudioFrame], end: Fraction) -> Fraction:
    """Return by how much the next frames all lie off the end of what was heard; 0 within the tolerance."""
    shifts = []
    for frame in ahead:
        time = _time(frame)
        shifts.append(Fraction(0) if time is None else time - end)
        end += seconds_of(frame)
    if min(shifts) > _TOLERANCE:
        return min(shifts)
    return max(shifts) if max(shifts) < -_TOLERANCE else Fraction(0)


def _time(frame: av.AudioFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def seconds_of(frame: av.AudioFrame) -> Fraction:
    """Return how long the samples of a frame last."""
    return Fraction(frame.samples, frame.sample_rate)


def without_gaps(placed: Iterable[Placed]) -> Iterator[av.AudioFrame]:
    """Yield frames without a gap between them: silence where there was one, of what lies over others only the rest."""
    for shift, frame in placed:
        off = round(shift * frame.sample_rate)
        for start in range(0, off, _SILENCE_SAMPLES):
            yield _silence(frame, min(_SILENCE_SAMPLES, off - start))
        if off >= 0:
            yield frame
        elif -off < frame.samples:
            per_sample = 1 if frame.format.is_planar else frame.layout.nb_channels
            yield like(frame, frame.to_ndarray()[:, -off * per_sample :])


def _silence(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    heard = frame.to_ndarray()
    shape = (heard.shape[0], samples * heard.shape[1] // frame.samples)
    # Of unsigned samples the middle is silent.
    return like(frame, np.full(shape, 128 if heard.dtype == np.uint8 else 0, dtype=heard.dtype))


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Decode a track; the last frame is cut to the length that an MP4 states for it.

    AAC comes in blocks of 1024 samples, and decoders return the whole last one, encoder padding included.
    """
    held: av.AudioFrame | None = None
    for frame in container.decode(stream):
        if held is not None:
            yield held
        held = frame
    if held is not None:
        yield _without_padding(held) if container.format.name == MOV.name else held


def _without_padding(last: av.AudioFrame) -> av.AudioFrame:
    stated = round(last.duration * (last.time_base or 0) * last.sample_rate)
    if not 0 < stated < last.samples or not last.format.is_planar:
        return last
    return like(last, last.to_ndarray()[:, :stated])


def like(frame: av.AudioFrame, samples: NDArray[Any]) -> av.AudioFrame:
    """Make a frame of other samples with the clock and layout of a given one."""
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=frame.format.name, layout=frame.layout.name)
    made.sample_rate, made.pts, made.time_base = frame.sample_rate, frame.pts, frame.time_base
    return made
