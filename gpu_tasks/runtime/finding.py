"""The faces to change in a job's frames: from the tracks artifact where it has one, else followed by the worker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.faces.arrays import Frame
from gpu_tasks.faces.finding import chosen_faces, with_mouth_of
from gpu_tasks.faces.selection import Rule
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.runtime.pipeline import Bench

# Called with the frame's index on the timeline and its pixels, HWC uint8 BGR, in order.
Finder: TypeAlias = Callable[[int, Frame], tuple[TrackedFace, ...]]


@contextmanager
def face_finder(job: Wav2LipJob | FaceFusionJob, bench: Bench, models: FaceModels, rule: Rule) -> Iterator[Finder]:
    """Open what finds the faces that a rule chooses.

    With tracks the faces of a frame depend on nothing but the frame's number and pixels, so that a segment is what the
    whole would be. Where an earlier stage moved the mouth, its points are measured anew in the tracked place.

    Raises:
        FaultError: REQUEST_INVALID when the tracks are those of another video; OBJECT_CORRUPT.
    """
    if job.tracks is None:
        tracker = models.new_tracker()
        yield lambda _index, pixels: rule.among(tracker.track(pixels))
        return
    with TracksReader(bench.path_of(job.tracks)) as tracks:
        chosen = chosen_faces(tracks, job.timeline, rule)
        if job.laid_out is None:
            # The footage itself is what was tracked.
            yield lambda index, _pixels: chosen(index)
        else:
            yield lambda index, pixels: tuple(with_mouth_of(pixels, face, models.mesh) for face in chosen(index))
