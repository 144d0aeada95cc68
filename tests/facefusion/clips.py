"""Tracked clips with one or two people in them, and what the neural engine makes of them before anything is encoded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Quality, Reference, Stage, Timeline
from gpu_tasks.contract.manifest import Manifest, manifest
from gpu_tasks.contract.options import FaceFusionOptions
from gpu_tasks.draft.models import face_models
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.mesh import NOSE_TIP
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.frames import Changed
from gpu_tasks.runtime.pipeline import Bench

SAMPLES = Path(__file__).parents[2] / "samples"
FRAMES = 14
HEIGHT = 288
FPS = Fraction(25)
PLAIN = FaceFusionOptions(
    processors=("face_swapper",),
    face_swapper_model="hyperswap_1a_256",
    face_detector_model="face_detection_short_range",
    face_swapper_colour_match=False,
)


def artifact(name: str) -> Artifact:
    return Artifact(
        key=f"uploads/source/{name}", sha256=sha256(name.encode()).hexdigest(), size_bytes=1, media_type="x/y"
    )


def reference(picture: Artifact) -> Reference:
    """A picture under the name that a request has for it."""
    return Reference(named=picture.key, picture=picture)


TARGET, TRACKS = artifact("target"), artifact("tracks")
SOURCE, OTHER, LEFT_PERSON, RIGHT_PERSON = map(artifact, ("source.jpg", "other.png", "left.png", "right.png"))


def unpinned() -> Manifest:
    """The real manifest without the digests of the published files, which stand-ins cannot have."""
    known = manifest()
    models = {
        name: entry if entry.bundled else entry.model_copy(update={"sha256": None, "size_bytes": None})
        for name, entry in known.models.items()
    }
    return known.model_copy(update={"models": models})


@dataclass(frozen=True)
class Clip:
    """A clip on the bench."""

    bench: Bench
    fps: Fraction
    frame_count: int

    def job(self, options: FaceFusionOptions = PLAIN, *, frame_count: int = 0, **changes: Any) -> FaceFusionJob:  # noqa: ANN401 - fields of the job
        timeline = Timeline(
            fps=self.fps, frame_count=frame_count or self.frame_count, target_frame_count=self.frame_count
        )
        fields: dict[str, Any] = {
            "engine": Engine.NEURAL,
            "model_revisions": manifest().revisions(Engine.NEURAL, Stage.FACEFUSION),
            "target": TARGET,
            "sources": (SOURCE,),
            "timeline": timeline,
            "tracks": TRACKS,
            "options": options,
        }
        return FaceFusionJob(**{**fields, **changes})

    def original(self, job: FaceFusionJob) -> list[Frame]:
        played = frames_on_timeline(self.bench.path_of(TARGET), job.timeline, job.frames)
        return [pixels for _index, pixels in played]

    def meshes(self, job: FaceFusionJob) -> list[tuple[Floats, ...]]:
        """Meshes of each frame of a job, from left to right."""
        found = []
        with TracksReader(self.bench.path_of(TRACKS)) as tracks:
            for index in range(job.frames.start_frame, job.frames.stop_frame):
                faces = sorted(tracks.faces(job.timeline.target_frame(index)), key=lambda face: face.centre_x)
                found.append(tuple(face.mesh_468 for face in faces))
        return found

    def with_files(self, **paths: Path) -> "Clip":
        """Return the same clip with other files under the names of artifacts."""
        inputs = {**self.bench.inputs, **{artifact(name).key: path for name, path in paths.items()}}
        return replace(self, bench=replace(self.bench, inputs=inputs))


def changed(engine: NeuralSwap, clip: Clip, job: FaceFusionJob) -> list[Changed]:
    with engine.frames(job, clip.bench, engine.equip(job, clip.bench)) as (frames, _notes):
        return list(frames)


def pixels(engine: NeuralSwap, clip: Clip, job: FaceFusionJob) -> list[Frame]:
    return [frame.pixels for frame in changed(engine, clip, job)]


def footage(count: int) -> list[Frame]:
    """The first frames of the sample: one person, 352 pixels wide."""
    with VideoReader(SAMPLES / "target.mp4", stop_frame=count) as reader:
        return [frame.pixels for frame in reader]


def portrait() -> Frame:
    """The sample's source picture."""
    picture = cv2.imread(str(SAMPLES / "source.jpg"), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def other_person(count: int) -> list[Frame]:
    """The person of the source picture, swaying."""
    picture = portrait()
    share = HEIGHT / picture.shape[0]
    width = round(picture.shape[1] * share)
    small = np.asarray(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
    sway = [np.array([[1, 0, 3 * np.sin(place / 3)], [0, 1, 0]], np.float32) for place in range(count)]
    return [
        np.asarray(cv2.warpAffine(small, shift, (width, HEIGHT), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        for shift in sway
    ]


def write_clip(folder: Path, frames: Sequence[Frame], fps: Fraction = FPS) -> Clip:
    folder.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    path = folder / "target.mp4"
    with VideoWriter(path, width=width, height=height, fps=fps, quality=Quality.INTERMEDIATE) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    models = face_models(1)
    track_faces(path, folder / "tracks", models.detector, models.mesh)
    cv2.imwrite(str(folder / "other.png"), frames[0][:HEIGHT, :352])
    return reopened(folder)


def reopened(folder: Path) -> Clip:
    """Return a clip that was written before."""
    with VideoReader(folder / "target.mp4") as reader:
        info = reader.info
    inputs = {
        TARGET.key: folder / "target.mp4",
        TRACKS.key: folder / "tracks",
        SOURCE.key: SAMPLES / "source.jpg",
        OTHER.key: folder / "other.png",
    }
    bench = Bench(folder=folder, inputs=inputs, threads=1, checkpoint=lambda: None, report=lambda *_: None)
    return Clip(bench, info.fps, info.frame_count)


def two_people(folder: Path, count: int = FRAMES) -> Clip:
    """Write a clip of two people, and a picture of each."""
    left, right = footage(count), other_person(count)
    clip = write_clip(folder, [np.hstack([one[:HEIGHT], other]) for one, other in zip(left, right, strict=True)])
    cv2.imwrite(str(folder / "left.png"), left[0])
    cv2.imwrite(str(folder / "right.png"), portrait())
    cv2.imwrite(str(folder / "group.png"), with_blue_spot(clip))
    names = ("left.png", "right.png", "group.png")
    return clip.with_files(**{name: folder / name for name in names})


def with_blue_spot(clip: Clip) -> Frame:
    """The first frame, in which the smaller face, on the right, has a blue spot on its nose and the rest no blue.

    As wide as detectors see it, so that their cells lie on its pixels.
    """
    job, left = clip.job(), 160
    frame = np.ascontiguousarray(clip.original(job)[0][:, left : left + 640])
    mesh = clip.meshes(job)[0][1] - np.array([left, 0, 0], np.float32)
    frame[:, :, 0] = np.minimum(frame[:, :, 0], frame[:, :, 2])
    column, row = (int(value) // 16 * 16 for value in mesh[NOSE_TIP, :2])
    frame[row : row + 16, column : column + 16] = (255, 90, 20)
    return frame
