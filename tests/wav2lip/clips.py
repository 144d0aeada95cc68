"""Two tracked faces side by side, a voice, and what the neural engine makes of them before anything is encoded."""

from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, Quality, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.arrays import Floats, Frame
from gpu_tasks.faces.trackfile import TracksReader
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.playing import frames_on_timeline
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.frames import Changed
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.listening import listen
from gpu_tasks.wav2lip.neural import NeuralLips
from tests.wav2lip.sounds import write_wav

SAMPLES = Path(__file__).parents[2] / "samples"
FRAMES = 20
# In these the faces are painted over: longer than what tracking bridges.
FACELESS = range(9, 20)
LEFT_PX = 352


def artifact(name: str) -> Artifact:
    return Artifact(key=f"work/{name}", sha256=sha256(name.encode()).hexdigest(), size_bytes=1, media_type="x/y")


TARGET, TRACKS, VOICE = map(artifact, ("target", "tracks", "voice"))


@dataclass(frozen=True)
class Clip:
    """A clip on the bench."""

    bench: Bench
    fps: Fraction
    frame_count: int

    def job(self, frame_count: int, *, options: Wav2LipOptions, **changes: Any) -> Wav2LipJob:  # noqa: ANN401 - fields of the job
        timeline = Timeline(fps=self.fps, frame_count=frame_count, target_frame_count=self.frame_count)
        fields: dict[str, Any] = {
            "engine": Engine.NEURAL,
            "model_revisions": manifest().revisions(Engine.NEURAL, Stage.WAV2LIP),
            "target": TARGET,
            "driving_audio": VOICE,
            "timeline": timeline,
            "tracks": TRACKS,
            "options": options,
        }
        return Wav2LipJob(**{**fields, **changes})

    def original(self, job: Wav2LipJob) -> list[Frame]:
        played = frames_on_timeline(self.bench.path_of(TARGET), job.timeline, job.frames)
        return [pixels for _index, pixels in played]

    def faces(self, job: Wav2LipJob) -> list[tuple[Floats, ...]]:
        """Meshes of each frame of a job, from left to right."""
        with TracksReader(self.bench.path_of(TRACKS)) as tracks:
            frames = [
                job.timeline.target_frame(index) for index in range(job.frames.start_frame, job.frames.stop_frame)
            ]
            found = [sorted(tracks.faces(frame), key=lambda face: face.centre_x) for frame in frames]
        return [tuple(face.mesh_468 for face in faces) for faces in found]


def two_faces(folder: Path, voice: Floats) -> Clip:
    """Write a clip of two faces, the larger one on the right, and a voice."""
    with VideoReader(SAMPLES / "target.mp4", stop_frame=FRAMES) as reader:
        frames = [frame.pixels for frame in reader]
        fps = reader.info.fps
    smaller = [np.asarray(cv2.resize(frame[:, ::-1], (LEFT_PX, 288)), np.uint8) for frame in reversed(frames)]
    return clip_of(
        folder, [np.hstack([left, right[:288]]) for left, right in zip(smaller, frames, strict=True)], fps, voice
    )


def one_face(folder: Path, voice: Floats, *, frames: int = FRAMES, without_face: range = range(0)) -> Clip:
    """Write a clip of one face, in some frames of which nobody is seen."""
    with VideoReader(SAMPLES / "target.mp4", stop_frame=frames) as reader:
        shown = [
            frame.pixels if frame.index not in without_face else np.full_like(frame.pixels, 90) for frame in reader
        ]
        return clip_of(folder, shown, reader.info.fps, voice)


def changed(lips: NeuralLips, clip: Clip, job: Wav2LipJob) -> list[Changed]:
    with lips.frames(job, clip.bench, listen(job, clip.bench), lips.equip(job, clip.bench)) as frames:
        return list(frames)


def pixels(lips: NeuralLips, clip: Clip, job: Wav2LipJob) -> list[Frame]:
    return [frame.pixels for frame in changed(lips, clip, job)]


def clip_of(folder: Path, frames: list[Frame], fps: Fraction, voice: Floats, *, repeated: int = 1) -> Clip:
    """Write frames and a voice, said so many times, and track the faces."""
    folder.mkdir(exist_ok=True)
    height, width = frames[0].shape[:2]
    with VideoWriter(
        folder / "target.mp4", width=width, height=height, fps=fps, quality=Quality.INTERMEDIATE
    ) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    models = face_models(1)
    track_faces(folder / "target.mp4", folder / "tracks", models.detector, models.mesh)
    write_wav(folder / "voice.wav", voice, repeated=repeated)
    inputs = {TARGET.key: folder / "target.mp4", TRACKS.key: folder / "tracks", VOICE.key: folder / "voice.wav"}
    bench = Bench(folder=folder, inputs=inputs, threads=2, checkpoint=lambda: None, report=lambda *_: None)
    return Clip(bench, fps, len(frames))
