"""The tracks of a job's target: given by the flow, or followed by the worker; and who each track is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import FaceFusionJob, Segment, Timeline
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.draft.models import FaceModels
from gpu_tasks.facefusion.embedding import Embedder
from gpu_tasks.facefusion.looking import Points
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.detector import Detects
from gpu_tasks.faces.selection import Rule
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.faces.trackfile import FacePlace, TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.runtime.finding import Finder, face_finder
from gpu_tasks.runtime.pipeline import Bench

# A track is known by its best frame in each of so many parts of its time.
_LOOKS: Final = 3
_OWN: Final = Artifact(key="work/own-tracks", sha256="0" * 64, size_bytes=1, media_type="application/octet-stream")


@dataclass(frozen=True, slots=True)
class Tracked:
    """A job that has tracks.

    Attributes:
        job: The job itself, or one that asks for the same of the same target and has the worker's own tracks.
        bench: Where both lie.
        offset: What a frame's index on the asked timeline is ahead of that of `job`.
    """

    job: FaceFusionJob
    bench: Bench
    offset: int

    @contextmanager
    def finder(self, models: FaceModels, rule: Rule) -> Iterator[Finder]:
        """Open what finds the faces that a rule chooses, by the asked timeline.

        Raises:
            FaultError: As `face_finder`.
        """
        with face_finder(self.job, self.bench, models, rule) as find:

            def find_asked(index: int, pixels: Frame) -> tuple[TrackedFace, ...]:
                return find(index - self.offset, pixels)

            yield find_asked

    def reader(self) -> TracksReader:
        """Open the tracks."""
        return TracksReader(self.bench.path_of(_tracks_of(self.job)))


def tracked(job: FaceFusionJob, bench: Bench, detector: Detects, models: FaceModels) -> Tracked:
    """Return a job with tracks: as it is, or after a pass over its target that settles tracks of our own.

    Raises:
        FaultError: NO_FACE_DETECTED when a target without tracks shows no face at all; what media raise.
    """
    if job.tracks is not None:
        return Tracked(job, bench, 0)
    target, path = bench.path_of(job.target), bench.folder / "own-tracks"
    own_bench = replace(bench, inputs={**bench.inputs, _OWN.key: path})
    clip = job.timeline.clip if job.laid_out is None else None
    track_faces(target, path, detector, models.mesh, clip=clip, checkpoint=bench.checkpoint)
    if job.laid_out is None:
        return Tracked(job.model_copy(update={"tracks": _OWN}), own_bench, 0)
    # The tracks are those of an earlier stage's video, which is its own timeline.
    count = job.laid_out.frame_count
    timeline = Timeline(fps=job.timeline.fps, frame_count=count, target_frame_count=count, sync_mode=SyncMode.CUT_OFF)
    own = job.model_copy(update={"tracks": _OWN, "timeline": timeline, "laid_out": None, "segment": None})
    return Tracked(own, own_bench, job.laid_out.start_frame)


def embed_tracks(work: Tracked, points: Points, embedder: Embedder) -> Mapping[int, Floats]:
    """Say who each track of a target is: once a track, not once a frame.

    Which frames are looked at depends on the whole target alone, so that all segments agree on who is who.

    Returns:
        (512,) float32 by track, the mean of what the embedder gave. Tracks that the target does not show are missing.

    Raises:
        FaultError: What media and networks raise.
        JobCancelledError: The job was stopped.
    """
    shown = _shown_frames(work.job)
    with work.reader() as tracks:
        first = tracks.header.clip.start_frame
        looks = _looks(enumerate(tracks.places(), start=first), shown)
        found: defaultdict[int, list[Floats]] = defaultdict(list)
        with VideoReader(work.bench.path_of(work.job.target)) as reader:
            for frame in sorted(looks):
                work.bench.checkpoint()
                (picture,) = reader.frames(shown[frame], shown[frame] + 1)
                for face in tracks.faces(frame):
                    if face.track_id in looks[frame]:
                        points_5 = points.of(picture.pixels, face.mesh_468).points_5
                        found[face.track_id].append(embedder.embedding(picture.pixels, points_5))
    return {track_id: np.mean(embeddings, axis=0).astype(np.float32) for track_id, embeddings in found.items()}


def _shown_frames(job: FaceFusionJob) -> Mapping[int, int]:
    """Which frame of the target's file shows a tracked frame."""
    clip = job.timeline.clip
    if job.laid_out is None:
        return {frame: frame for frame in range(clip.start_frame, clip.stop_frame)}
    holds: Segment = job.laid_out
    shown: dict[int, int] = {}
    for place, index in enumerate(range(holds.start_frame, holds.stop_frame)):
        shown.setdefault(job.timeline.target_frame(index), place)
    return shown


def _looks(clip: Iterator[tuple[int, tuple[FacePlace, ...]]], shown: Mapping[int, int]) -> dict[int, set[int]]:
    """Choose frames in which tracks are seen best: tracks by frame."""
    seen: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for frame, places in clip:
        if frame in shown:
            for face in places:
                seen[face.track_id].append((frame, face.height_px * face.score))
    looks: defaultdict[int, set[int]] = defaultdict(set)
    for track_id, frames in seen.items():
        step = -(-len(frames) // _LOOKS)
        for start in range(0, len(frames), step):
            best = max(frames[start : start + step], key=lambda look: look[1])
            looks[best[0]].add(track_id)
    return looks


def _tracks_of(job: FaceFusionJob) -> Artifact:
    if job.tracks is None:
        raise ValueError("a job without tracks")
    return job.tracks
