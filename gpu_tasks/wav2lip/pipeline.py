"""Lip-sync: the mouth of the most prominent face follows the driving audio."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Stage, Wav2LipJob
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.faces.selection import Speaker
from gpu_tasks.media.audio import load_mono
from gpu_tasks.runtime.finding import face_finder
from gpu_tasks.runtime.frames import Change, Changed, Pixels, render
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.unsupported import options_without_effect

# Where the result of the flow goes is the flow's business; everything else steers a neural engine.
_HONOURED: Final = frozenset({"output_prefix"})


class LipSync:
    """The draft engine's lip-sync."""

    stage: Final = Stage.WAV2LIP

    def check(self, job: Wav2LipJob) -> None:
        """Everything that a job of this contract can ask for is done, or noted in the receipt."""

    def inputs(self, job: Wav2LipJob) -> tuple[Artifact, ...]:
        return (job.target, job.driving_audio, *([job.tracks] if job.tracks else []))

    def run(self, job: Wav2LipJob, bench: Bench) -> Product:
        with self.change(job, bench) as change:
            notes = options_without_effect(job.options, _HONOURED)
            return render(job, bench, change, sound=bench.path_of(job.driving_audio), notes=notes)

    @contextmanager
    def change(self, job: Wav2LipJob, bench: Bench) -> Iterator[Change]:
        """Open what is done to each frame."""
        voice = load_mono(bench.path_of(job.driving_audio), sample_rate=SAMPLE_RATE)
        # Over the whole sound also for a segment: loudness is judged against all of it.
        shapes = mouth_shapes(voice, job.timeline.fps, job.timeline.frame_count)
        lips = DraftLips()
        with face_finder(job, bench, face_models(bench.threads), Speaker()) as find:

            def change(index: int, pixels: Pixels) -> Changed:
                faces = find(index, pixels)
                opening, spread = float(shapes.opening[index]), float(shapes.spread[index])
                for face in faces:
                    pixels = lips.apply(pixels, face.mesh_468, opening, spread)
                return Changed(pixels, has_face=bool(faces))

            yield change
