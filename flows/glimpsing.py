"""Tracks for a glimpse: the faces of the frames that are shown, found without looking at the rest of the target."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.faces.settling import Settler
from gpu_tasks.faces.tracker import FaceTracker, TrackedFace
from gpu_tasks.faces.trackfile import TracksHeader, TracksWriter
from gpu_tasks.media.reader import VideoReader

# Tracks are settled with what comes before and after in view; half a second covers every gap that is bridged.
_MARGIN_SECONDS: Final = 0.5

Faces = tuple[TrackedFace, ...]


def track_glimpse(target: Path, destination: Path, models: FaceModels, timeline: Timeline, part: Segment) -> None:
    """Write a tracks artifact of the whole clip in which only the frames that `part` shows hold their faces.

    What the frames show is what the tracking of the whole clip would show, but for a face that a longer look would have
    found more prominent, and for the numbers that faces go by.

    Args:
        target: The target video.
        destination: Where the artifact goes.
        models: Detector and mesh.
        timeline: The whole result's.
        part: The frames of the result that are shown.

    Raises:
        FaultError: As VideoReader does.
    """
    clip = timeline.clip
    margin = round(_MARGIN_SECONDS * timeline.fps)
    shown = {timeline.target_frame(index) for index in range(part.start_frame, part.stop_frame)}
    tracker = FaceTracker(models.detector, models.mesh, steady=False)
    with VideoReader(target) as reader:
        info = reader.info
        header = TracksHeader(
            width=info.width, height=info.height, fps=info.fps, target_frame_count=info.frame_count, clip=clip
        )
        with TracksWriter(destination, header) as writer:
            written = clip.start_frame
            for run in runs_of(shown, clip, margin):
                for _ in range(written, run.start_frame):
                    writer.write(())
                for faces in _settled(reader, run, tracker):
                    writer.write(faces)
                written = run.stop_frame
            for _ in range(written, clip.stop_frame):
                writer.write(())


def runs_of(frames: Iterable[int], clip: Segment, margin: int) -> tuple[Segment, ...]:
    """Return the stretches of a clip that hold these frames with so many more on either side, in order, apart."""
    runs: list[Segment] = []
    for frame in sorted(frames):
        start = max(frame - margin, clip.start_frame)
        stop = min(frame + margin + 1, clip.stop_frame)
        if runs and start <= runs[-1].stop_frame:
            start = runs.pop().start_frame
        runs.append(Segment(start_frame=start, stop_frame=stop))
    return tuple(runs)


def _settled(reader: VideoReader, run: Segment, tracker: FaceTracker) -> Iterator[Faces]:
    settler = Settler(reader.info.fps)
    for frame in reader.frames(run.start_frame, run.stop_frame):
        yield from settler.push(tracker.track(frame.pixels))
    yield from settler.finish()
