"""A sample through the draft engine as the workers run it, before anything is encoded."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.tracks import FaceReport
from gpu_tasks.draft.models import face_models
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.runtime.frames import changed_frames
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.pipeline import LipSync

ORIGINALS = Path(__file__).parents[2] / "samples"
# How far around the mesh a stage may reach, in face heights: the swap by its rounding, lip-sync by the dropping chin.
SWAP_REACH, LIPS_REACH = 0.02, 0.2


@dataclass(frozen=True)
class Worked:
    """One frame before and after, and the faces in it."""

    before: Frame
    after: Frame
    faces: tuple[TrackedFace, ...]

    def change_in(self, face: TrackedFace, *, below: int | None = None) -> float:
        """Mean difference within a face (below a point of its mesh), in steps of 255."""
        area = hull(face.mesh_468, self.before.shape[:2])
        if below is not None:
            area[: round(float(face.mesh_468[below, 1]))] = False
        return float(cv2.absdiff(self.after, self.before).max(axis=2)[area].mean()) if area.any() else 0.0

    def is_changed_elsewhere(self, reach: float) -> bool:
        """Tell whether any pixel differs that is further from all faces than a part of their heights."""
        changed = cv2.absdiff(self.after, self.before).any(axis=2)
        for face in self.faces:
            side = 2 * round(reach * face.height_px) + 1
            near = hull(face.mesh_468, self.before.shape[:2]).astype(np.uint8)
            changed &= cv2.dilate(near, np.ones((side, side), np.uint8)) == 0
        return bool(changed.any())


def hull(mesh_468: Floats, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tell for each pixel whether it lies on a face."""
    canvas = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(canvas, np.asarray(cv2.convexHull(np.rint(mesh_468[:, :2]).astype(np.int32)), np.int32), (1,))
    return canvas > 0


class Workplace:
    """A target, tracked once, on which jobs are done."""

    def __init__(self, folder: Path, target: Path, sources: tuple[Path, ...] = (ORIGINALS / "source.jpg",)) -> None:
        models = face_models(1)
        self._tracks_path = folder / "tracks"
        self.report: FaceReport = track_faces(target, self._tracks_path, models.detector, models.mesh)
        with VideoReader(target) as reader:
            self.info = reader.info
        self._target = target
        self._sources = tuple(_artifact(path) for path in sources)
        self._voice, self._tracks = _artifact(ORIGINALS / "speech.wav"), _artifact(self._tracks_path)
        inputs = dict(zip((source.key for source in self._sources), sources, strict=True))
        inputs |= {
            _artifact(target).key: target,
            self._voice.key: ORIGINALS / "speech.wav",
            self._tracks.key: self._tracks_path,
        }
        self._bench = Bench(folder, inputs, threads=1, checkpoint=lambda: None, report=lambda *_: None)

    def spoken(self) -> Iterator[Worked]:
        """Yield every frame before and after lip-sync."""
        job = Wav2LipJob(**self._fields(Stage.WAV2LIP), driving_audio=self._voice)
        with LipSync().change(job, self._bench) as change:
            yield from self._with_originals(
                changed.pixels
                for changed in changed_frames(job, self._bench, lambda index, pixels: change(index, pixels.copy()))
            )

    def swapped(self, **options: Any) -> Iterator[Worked]:  # noqa: ANN401 - fields of the job
        """Yield every frame before and after the face swap."""
        job = FaceFusionJob(**self._fields(Stage.FACEFUSION), sources=self._sources, **options)
        pipeline = FaceSwap()
        pipeline.check(job)
        with pipeline.change(job, self._bench) as change:
            yield from self._with_originals(
                changed.pixels
                for changed in changed_frames(job, self._bench, lambda index, pixels: change(index, pixels.copy()))
            )

    def _fields(self, stage: Stage) -> dict[str, Any]:
        count = self.info.frame_count
        return {
            "engine": Engine.DRAFT,
            "model_revisions": manifest().revisions(Engine.DRAFT, stage),
            "target": _artifact(self._target),
            "timeline": Timeline(fps=self.info.fps, frame_count=count, target_frame_count=count),
            "tracks": self._tracks,
        }

    def _with_originals(self, after: Iterator[Frame]) -> Iterator[Worked]:
        with VideoReader(self._target) as reader, TracksReader(self._tracks_path) as tracks:
            for own, made in zip(reader, after, strict=True):
                yield Worked(own.pixels, made, tracks.faces(own.index))


def _artifact(path: Path) -> Artifact:
    name = str(path)
    return Artifact(
        key=f"work/{path.name}", sha256=sha256(name.encode()).hexdigest(), size_bytes=1, media_type="application/test"
    )
