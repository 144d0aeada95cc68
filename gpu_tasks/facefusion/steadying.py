"""What flickers from frame to frame is averaged over the frames around it: light, and the masks that networks see.

A frame's neighbours on both sides count alike, so nothing lags; and they are looked at beyond the ends of a segment, so
that a segment is what the whole would be.
"""

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Final, Protocol, TypeVar

import numpy as np

from gpu_tasks.contract.jobs import FaceFusionJob, Segment
from gpu_tasks.faces.arrays import Floats

# Frames on each side: a tenth of a second at 30 fps.
REACH: Final = 3
# A mask that changes more than this where it lies has been moved, not shaken.
_MOVED: Final = 0.25


class Timed(Protocol):
    """A frame in order."""

    @property
    def place(self) -> int: ...


TimedT = TypeVar("TimedT", bound=Timed)


def with_margin(job: FaceFusionJob, reach: int) -> FaceFusionJob:
    """Return the job with as many more frames before and after its own as there are in its target."""
    holds = job.laid_out or Segment(start_frame=0, stop_frame=job.timeline.frame_count)
    wider = Segment(
        start_frame=max(holds.start_frame, job.frames.start_frame - reach),
        stop_frame=min(holds.stop_frame, job.frames.stop_frame + reach),
    )
    return job.model_copy(update={"segment": wider})


def with_neighbours(
    frames: Generator[TimedT], reach: int, wanted: Segment
) -> Generator[tuple[TimedT, tuple[TimedT, ...]]]:
    """Yield each wanted frame with those around it, itself among them.

    Args:
        frames: In order; closed here.
        reach: Frames on each side.
        wanted: Those that are yielded.
    """
    with closing(frames):
        held: deque[TimedT] = deque()
        for frame in frames:
            held.append(frame)
            while held[0].place < frame.place - 2 * reach:
                held.popleft()
            middle = frame.place - reach
            if middle in range(wanted.start_frame, wanted.stop_frame) and middle >= held[0].place:
                yield _at(held, middle), tuple(held)
        if not held:
            return
        last = held[-1].place
        for middle in range(max(last - reach + 1, wanted.start_frame, held[0].place), last + 1):
            if middle < wanted.stop_frame:
                around = tuple(frame for frame in held if frame.place >= middle - reach)
                yield _at(held, middle), around


def mean_of(fields: Sequence[Floats]) -> Floats:
    """Return the mean of fields of one shape."""
    return np.asarray(np.mean(fields, axis=0), np.float32)


def steady_mask(now: Floats, around: Sequence[Floats]) -> Floats:
    """Return a mask, (size, size) float32, averaged where it only trembles, and as it is where something moves.

    Args:
        now: The frame's own.
        around: Those of the frames around it, its own among them.
    """
    mean = mean_of(around)
    return np.where(np.abs(mean - now) < _MOVED, mean, now).astype(np.float32)


def _at(held: Sequence[TimedT], index: int) -> TimedT:
    return next(frame for frame in held if frame.place == index)
