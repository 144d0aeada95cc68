"""How the frames of a target lie under the driving audio."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.reader import VideoReader


def plan_timeline(target: VideoInfo, audio_seconds: float | None, sync_mode: SyncMode) -> Timeline:
    """Lay a target under a driving audio; without audio the target stays as long as it is.

    The result has the target's frame rate and as many frames as fit the audio best (half a frame rounds up, at least
    one), so that sound and picture end within half a frame of each other.

    Args:
        target: The target video.
        audio_seconds: Length of the driving audio, None when there is none.
        sync_mode: What happens when the two differ in length.

    Raises:
        MediaError: OPTION_UNSUPPORTED for a sync mode that is not built yet.
    """
    _require_supported(sync_mode)
    frame_count = target.frame_count
    if audio_seconds is not None:
        frame_count = max(1, int(Fraction(audio_seconds) * target.fps + Fraction(1, 2)))
    return Timeline(fps=target.fps, frame_count=frame_count, target_frame_count=target.frame_count, sync_mode=sync_mode)


def frames_on_timeline(path: Path, timeline: Timeline, segment: Segment) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Play a target under the timeline's sync mode.

    Frames stream; memory does not grow with the length of the target. Close the iterator when leaving it early.

    Args:
        path: The target that the timeline was planned for.
        timeline: The grid of the result.
        segment: The part of it to produce.

    Yields:
        Output index (segment.start_frame, ... stop_frame - 1) and HWC uint8 BGR pixels of the target's displayed size.
        Odd sizes are kept here; VideoWriter cuts them to even.

    Raises:
        MediaError: OPTION_UNSUPPORTED for a sync mode that is not built yet, REQUEST_INVALID when the timeline was
            planned for another video or the segment lies outside it, otherwise as VideoReader does.
    """
    _require_supported(timeline.sync_mode)
    if segment.stop_frame > timeline.frame_count:
        raise MediaError(FaultCode.REQUEST_INVALID, "The segment ends after the timeline.")
    return _looped(path, timeline, segment)


def _looped(path: Path, timeline: Timeline, segment: Segment) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    with VideoReader(path) as reader:
        if (reader.info.fps, reader.info.frame_count) != (timeline.fps, timeline.target_frame_count):
            raise MediaError(FaultCode.REQUEST_INVALID, "The timeline was planned for another video.")
        output_index = segment.start_frame
        while output_index < segment.stop_frame:
            start = output_index % reader.info.frame_count
            stop = min(reader.info.frame_count, start + segment.stop_frame - output_index)
            for frame in reader.frames(start, stop):
                yield output_index, frame.pixels
                output_index += 1


def _require_supported(sync_mode: SyncMode) -> None:
    if sync_mode is not SyncMode.LOOP:
        raise MediaError(FaultCode.OPTION_UNSUPPORTED, f"sync_mode {sync_mode} is not built yet.")
