"""Lip-sync: the mouth of the most prominent face follows the driving audio."""

from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Stage, Wav2LipJob
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.media.audio import load_mono
from gpu_tasks.runtime.frames import Changed, Pixels, render
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.unsupported import options_without_effect

# Where the result of the flow goes is the flow's business; everything else steers a neural engine.
_HONOURED: Final = frozenset({"output_prefix"})


class LipSync:
    """The draft engine's lip-sync."""

    stage: Final = Stage.WAV2LIP

    def check(self, job: Wav2LipJob) -> None:
        """Everything is built."""

    def inputs(self, job: Wav2LipJob) -> tuple[Artifact, ...]:
        return (job.target, job.driving_audio)

    def run(self, job: Wav2LipJob, bench: Bench) -> Product:
        voice = bench.path_of(job.driving_audio)
        # Over the whole sound also for a segment: loudness is judged against all of it.
        shapes = mouth_shapes(load_mono(voice, sample_rate=SAMPLE_RATE), job.timeline.fps, job.timeline.frame_count)
        tracker = face_models(bench.threads).new_tracker()
        speaker = _Speaker()
        lips = DraftLips()

        def change(index: int, pixels: Pixels) -> Changed:
            face = speaker.among(tracker.track(pixels))
            if face is None:
                return Changed(pixels, has_face=False)
            opening, spread = float(shapes.opening[index]), float(shapes.spread[index])
            return Changed(lips.apply(pixels, face.mesh_468, opening, spread), has_face=True)

        notes = options_without_effect(job.options, _HONOURED)
        return render(job, bench, change, sound=voice, notes=notes)


class _Speaker:
    """Who speaks: the tallest face at first, and the same one for as long as it is seen."""

    def __init__(self) -> None:
        self._track_id: int | None = None

    def among(self, faces: tuple[TrackedFace, ...]) -> TrackedFace | None:
        for face in faces:
            if face.track_id == self._track_id:
                return face
        tallest = max(faces, key=lambda face: face.height_px, default=None)
        self._track_id = tallest.track_id if tallest else None
        return tallest
