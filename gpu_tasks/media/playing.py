"""The frames of a target as a timeline shows them, streamed forwards and backwards."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.reader import VideoReader

Pixels = NDArray[np.uint8]

# Decoders only go forwards: what is shown backwards is decoded in pieces that are held. A piece decodes anew from the
# keyframe before it, so few large pieces are quicker: 128 MiB is 48 frames of 720p, 21 of 1080p.
_HELD_BYTES = 128 * 1024 * 1024


class _Lap(NamedTuple):
    """Frames [start, stop) of the result, over which the target plays in one direction."""

    start: int
    stop: int
    is_backwards: bool


def frames_on_timeline(
    path: Path, timeline: Timeline, segment: Segment, *, held_bytes: int = _HELD_BYTES
) -> Iterator[tuple[int, Pixels]]:
    """Play a target under the timeline's sync mode.

    Frames stream; memory does not grow with the length of the target. Close the iterator when leaving it early.

    Args:
        path: The target that the timeline was planned for.
        timeline: The grid of the result.
        segment: The part of it to produce; a segment's frames are those of the whole, bit for bit.
        held_bytes: Most pixels to hold where the target plays backwards (at least one frame).

    Yields:
        Output index (segment.start_frame, ... stop_frame - 1) and HWC uint8 BGR pixels of the target's displayed size,
        the caller's own. Odd sizes are kept here; VideoWriter cuts them to even.

    Raises:
        MediaError: REQUEST_INVALID when the timeline was planned for another video or the segment lies outside it,
            otherwise as VideoReader does.
    """
    if segment.stop_frame > timeline.frame_count:
        raise MediaError(FaultCode.REQUEST_INVALID, "The segment ends after the timeline.")
    return _played(path, timeline, segment, held_bytes)


def frames_laid_out(path: Path, holds: Segment, segment: Segment) -> Iterator[tuple[int, Pixels]]:
    """Play a video that an earlier stage made for frames `holds` of a timeline.

    Args:
        path: The earlier stage's video.
        holds: The frames of the timeline that it holds.
        segment: The part of the timeline to produce, inside `holds`.

    Yields:
        As `frames_on_timeline`.

    Raises:
        MediaError: REQUEST_INVALID when the video does not hold that many frames, otherwise as VideoReader does.
    """
    with VideoReader(path) as reader:
        if reader.info.frame_count != holds.frame_count:
            raise MediaError(
                FaultCode.REQUEST_INVALID,
                f"The target holds {reader.info.frame_count} frames, not {holds.frame_count}.",
            )
        start, stop = segment.start_frame - holds.start_frame, segment.stop_frame - holds.start_frame
        for frame in reader.frames(start, stop):
            yield holds.start_frame + frame.index, frame.pixels


def _played(path: Path, timeline: Timeline, segment: Segment, held_bytes: int) -> Iterator[tuple[int, Pixels]]:
    with VideoReader(path) as reader:
        info = reader.info
        if (info.fps, info.frame_count) != (timeline.fps, timeline.target_frame_count):
            raise MediaError(FaultCode.REQUEST_INVALID, "The timeline was planned for another video.")
        held_frames = max(1, held_bytes // (info.width * info.height * 3))
        laps = tuple(_laps(timeline, segment))
        if len(laps) > 1 and timeline.clip.frame_count <= held_frames:
            yield from _from_memory(reader, timeline, segment)
            return
        for lap in laps:
            shown = [timeline.target_frame(index) for index in range(lap.start, lap.stop)]
            play = _backwards(reader, shown, held_frames) if lap.is_backwards else _forwards(reader, shown)
            yield from enumerate(play, start=lap.start)


def _laps(timeline: Timeline, segment: Segment) -> Iterator[_Lap]:
    """Split a segment where the target starts again or turns round."""
    count = timeline.clip.frame_count
    lap = {SyncMode.LOOP: count, SyncMode.BOUNCE: max(count - 1, 1)}.get(timeline.sync_mode, timeline.frame_count)
    start = segment.start_frame
    while start < segment.stop_frame:
        number = start // lap
        stop = min(segment.stop_frame, (number + 1) * lap)
        # Frame number * lap of a bounce is the turning point itself: it may as well begin the way back.
        yield _Lap(start, stop, timeline.sync_mode is SyncMode.BOUNCE and number % 2 == 1)
        start = stop


def _from_memory(reader: VideoReader, timeline: Timeline, segment: Segment) -> Iterator[tuple[int, Pixels]]:
    clip = timeline.clip
    held = [frame.pixels for frame in reader.frames(clip.start_frame, clip.stop_frame)]
    for index in range(segment.start_frame, segment.stop_frame):
        yield index, held[timeline.target_frame(index) - clip.start_frame].copy()


def _forwards(reader: VideoReader, shown: list[int]) -> Iterator[Pixels]:
    """Yield frames of never falling numbers: what is wanted twice is repeated, what is not wanted is passed over."""
    wanted = ((index, sum(1 for _ in group)) for index, group in groupby(shown))
    index, times = next(wanted)
    for frame in reader.frames(shown[0], shown[-1] + 1):
        if frame.index != index:
            continue
        # The copies first: who was handed a frame may have painted on it.
        for _ in range(times - 1):
            yield frame.pixels.copy()
        yield frame.pixels
        index, times = next(wanted, (-1, 0))


def _backwards(reader: VideoReader, shown: list[int], held_frames: int) -> Iterator[Pixels]:
    """Yield frames of falling numbers, each one less than the one before it."""
    last, first = shown[0], shown[-1]
    for stop in range(last + 1, first, -held_frames):
        held = [frame.pixels for frame in reader.frames(max(first, stop - held_frames), stop)]
        while held:
            yield held.pop()
