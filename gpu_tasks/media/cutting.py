"""Where a long result is cut into segments: at a change of scene, else where nobody speaks, else where it falls due.

Every frame of a segment is what it is in the whole (faces and voice are looked at as a whole), so a cut is never seen.
Its place is chosen because each segment begins with a keyframe, which costs least where the picture changes anyway, and
because what steadies faces over a few frames does not look beyond a segment.
"""

from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.playing import frames_on_timeline

# A segment costs a keyframe, a queue and a download: below this they are felt.
LEAST_SECONDS: Final = 10.0
# How far from where it falls due a better place is looked for.
_SEARCH_SECONDS: Final = 2
_THUMBNAIL: Final = (32, 18)
# Mean change of a thumbnail's grey levels (0..255): hard cuts of talking heads give 30 and more, waving hands below 10;
# and a cut stands out from what moves around it.
_SCENE_CHANGE: Final = 20.0
_TIMES_USUAL: Final = 4.0
_VOICE_RATE: Final = 8000
_PAUSE_SECONDS: Final = Fraction(1, 5)
# A pause is 20 dB below the whole.
_PAUSE_LEVEL: Final = 0.1


class Cutting(BaseModel):
    """How long segments are, and how many at most: then each is longer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segment_seconds: float = Field(default=30.0, ge=LEAST_SECONDS)
    max_segments: int = Field(default=64, ge=1)


def plan_segments(timeline: Timeline, cutting: Cutting, *, target: Path, audio: Path | None) -> tuple[Segment, ...]:
    """Cut a result into segments of about equal length; no cut at all where it is shorter than two of them.

    Equal inputs give equal segments, so that what was computed for them is found again.

    Args:
        timeline: Of the result.
        cutting: The lengths.
        target: The video that the timeline lays out.
        audio: The driving audio, None without.

    Returns:
        The segments in order, without holes and each at least ten seconds long; none when the result stays whole.

    Raises:
        MediaError: The target or the audio cannot be read.
    """
    due = _due_frames(timeline, cutting)
    if not due:
        return ()
    least = ceil(Fraction(LEAST_SECONDS) * timeline.fps)
    shortest = timeline.frame_count // (len(due) + 1)
    # So that two neighbours may move towards each other without coming closer than the least.
    reach = min(int(_SEARCH_SECONDS * timeline.fps), (shortest - least) // 2)
    if reach > 0:
        levels = None if audio is None else _levels(audio, timeline)
        due = tuple(_best(timeline, target, levels, frame, reach) for frame in due)
    ends = (0, *due, timeline.frame_count)
    return tuple(Segment(start_frame=a, stop_frame=b) for a, b in pairwise(ends))


def _due_frames(timeline: Timeline, cutting: Cutting) -> tuple[int, ...]:
    """Return where segments 1, 2, ... would begin if all were equally long."""
    aimed = ceil(Fraction(cutting.segment_seconds) * timeline.fps)
    count = min(cutting.max_segments, timeline.frame_count // aimed)
    return tuple(number * timeline.frame_count // count for number in range(1, count))


def _best(timeline: Timeline, target: Path, levels: NDArray[np.float64] | None, due: int, reach: int) -> int:
    """Return the best frame to begin a segment with, at most `reach` frames from where it falls due."""
    window = Segment(start_frame=due - reach, stop_frame=min(due + reach + 1, timeline.frame_count))
    changes = _changes(timeline, target, window)
    strongest = int(np.argmax(changes))
    if changes[strongest] > max(_SCENE_CHANGE, _TIMES_USUAL * float(np.median(changes))):
        return window.start_frame + 1 + strongest
    if levels is None:
        return due
    heard = levels[window.start_frame : window.stop_frame]
    quiet = np.flatnonzero(heard <= _PAUSE_LEVEL * float(np.sqrt(np.mean(levels**2))))
    if not quiet.size:
        return due
    # Of all that is quiet what lies nearest: segments stay about equal.
    return window.start_frame + int(min(quiet, key=lambda place: abs(int(place) - reach)))


def _changes(timeline: Timeline, target: Path, window: Segment) -> NDArray[np.float64]:
    """Return how much each frame of a window differs from the one before it, from the second on, in grey levels."""
    thumbnails = [
        cv2.cvtColor(cv2.resize(pixels, _THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        for _, pixels in frames_on_timeline(target, timeline, window)
    ]
    changes: NDArray[np.float64] = np.abs(np.diff(np.asarray(thumbnails, np.float64), axis=0)).mean(axis=(1, 2))
    return changes


def _levels(audio: Path, timeline: Timeline) -> NDArray[np.float64]:
    """Return how loud it is around the beginning of each frame: root mean square over a fifth of a second."""
    samples = load_mono(audio, sample_rate=_VOICE_RATE).astype(np.float64)
    energy = np.concatenate(([0.0], np.cumsum(samples**2)))
    places = np.arange(timeline.frame_count) / float(timeline.fps) * _VOICE_RATE
    half = int(_PAUSE_SECONDS / 2 * _VOICE_RATE)
    begins = np.clip(places.astype(int) - half, 0, samples.size)
    ends = np.clip(places.astype(int) + half, 0, samples.size)
    levels: NDArray[np.float64] = np.sqrt((energy[ends] - energy[begins]) / np.maximum(ends - begins, 1))
    return levels
