"""Lip-sync: the mouth of whoever speaks follows the driving audio."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Stage, Wav2LipJob
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.media.audio import load_mono
from gpu_tasks.runtime.finding import face_finder
from gpu_tasks.runtime.frames import Change, Changed, Pixels, render
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.unsupported import options_without_effect
from gpu_tasks.runtime.warm import Weights
from gpu_tasks.wav2lip import options
from gpu_tasks.wav2lip.neural import NeuralLips

# Where the result of the flow goes and how the target is laid out is the flow's business; of the rest the draft engine
# only knows who speaks.
_HONOURED: Final = frozenset({"output_prefix", "pingpong", "speaker"})


class LipSync:
    """Lip-sync by either engine, as the job says.

    Args:
        weights: Where the neural engine's models lie; None: there are none.
    """

    stage: Final = Stage.WAV2LIP

    def __init__(self, weights: Weights | None = None) -> None:
        self.neural = NeuralLips(weights) if weights is not None else None

    def check(self, job: Wav2LipJob) -> None:
        """Everything that the draft engine has no use for is noted in the receipt; the neural one refuses it."""
        if job.engine is Engine.NEURAL:
            options.check(job)
            self._neural_engine()

    def inputs(self, job: Wav2LipJob) -> tuple[Artifact, ...]:
        return (job.target, job.driving_audio, *([job.tracks] if job.tracks else []))

    def run(self, job: Wav2LipJob, bench: Bench) -> Product:
        if job.engine is Engine.NEURAL:
            return self._neural_engine().run(job, bench)
        with self.change(job, bench) as change:
            notes = options_without_effect(job.options, _HONOURED)
            return render(job, bench, change, sound=bench.path_of(job.driving_audio), notes=notes)

    def _neural_engine(self) -> NeuralLips:
        if self.neural is None:
            raise FaultError(FaultCode.ENGINE_UNAVAILABLE, "This worker has no models.")
        return self.neural

    @contextmanager
    def change(self, job: Wav2LipJob, bench: Bench) -> Iterator[Change]:
        """Open what the draft engine does to each frame."""
        voice = load_mono(bench.path_of(job.driving_audio), sample_rate=SAMPLE_RATE)
        # Over the whole sound also for a segment: loudness is judged against all of it.
        shapes = mouth_shapes(voice, job.timeline.fps, job.timeline.frame_count)
        lips = DraftLips()
        with face_finder(job, bench, face_models(bench.threads), options.speaker_of(job)) as find:

            def change(index: int, pixels: Pixels) -> Changed:
                faces = find(index, pixels)
                opening, spread = float(shapes.opening[index]), float(shapes.spread[index])
                for face in faces:
                    pixels = lips.apply(pixels, face.mesh_468, opening, spread)
                return Changed(pixels, has_face=bool(faces))

            yield change
