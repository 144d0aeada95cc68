"""Face swap: the source's identity is put on the selected faces of the target."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.casting import needing_recognition, uncastable
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Stage
from gpu_tasks.draft.models import FaceModels, face_models
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.facefusion import options
from gpu_tasks.facefusion.neural import NeuralSwap
from gpu_tasks.faces.casting import EVERYONE, Casting
from gpu_tasks.media.probe import probe
from gpu_tasks.media.still import read_image
from gpu_tasks.media.writer import NVENC, X264
from gpu_tasks.runtime.finding import face_finder
from gpu_tasks.runtime.frames import Change, Changed, Encoding, Pixels, render
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.unsupported import options_without_effect, refuse

_ENCODERS: Final = (X264, NVENC)
_HONOURED: Final = frozenset({"output_video_encoder", "output_video_preset"})


class FaceSwap:
    """Face swap by either engine, as the job says.

    Args:
        neural: The neural engine; None: there are no models.
    """

    stage: Final = Stage.FACEFUSION

    def __init__(self, neural: NeuralSwap | None = None) -> None:
        self._neural = neural

    def check(self, job: FaceFusionJob) -> None:
        if job.engine is Engine.NEURAL:
            options.check(job)
            return
        casting = job.face_selection, job.face_map
        for field, why in chain(uncastable(*casting, len(job.sources)), needing_recognition(*casting)):
            raise refuse(field, why)
        if "face_swapper" not in job.options.processors:
            raise refuse("processors", "the draft engine only swaps faces.")
        if job.options.output_video_encoder not in _ENCODERS:
            raise refuse("output_video_encoder", f"use one of {', '.join(_ENCODERS)}.")

    def inputs(self, job: FaceFusionJob) -> tuple[Artifact, ...]:
        pictures = (*job.sources, *(reference.picture for reference in job.references))
        return (job.target, *pictures, *([job.tracks] if job.tracks else []))

    def run(self, job: FaceFusionJob, bench: Bench) -> Product:
        if job.engine is Engine.NEURAL:
            if self._neural is None:
                raise FaultError(FaultCode.ENGINE_UNAVAILABLE, "This worker has no models.")
            return self._neural.run(job, bench)
        target = bench.path_of(job.target)
        with self.change(job, bench) as change:
            return render(
                job,
                bench,
                change,
                sound=target if probe(target).audio is not None else None,
                encoding=Encoding(job.options.output_video_encoder, job.options.output_video_preset),
                notes=options_without_effect(job.options, _HONOURED),
            )

    @contextmanager
    def change(self, job: FaceFusionJob, bench: Bench) -> Iterator[Change]:
        """Open what is done to each frame."""
        models = face_models(bench.threads)
        sources = tuple(_source(job, position, bench, models) for position in range(len(job.sources)))
        casting = Casting(job.face_selection, job.face_map)
        swaps = {part: DraftSwap(sources if part is EVERYONE else (sources[part],)) for part in casting.parts}
        with face_finder(job, bench, models, casting) as find:

            def change(index: int, pixels: Pixels) -> Changed:
                faces = find(index, pixels)
                for face in faces:
                    bench.checkpoint()
                    # Settled tracks keep the light steady by themselves; memory of it would tell segments apart.
                    remembered = None if job.tracks else face.track_id
                    pixels = swaps[casting.part_of(face.track_id)].apply(pixels, face.mesh_468, track_id=remembered)
                return Changed(pixels, has_face=bool(faces))

            yield change


def _source(job: FaceFusionJob, position: int, bench: Bench, models: FaceModels) -> DraftSource:
    """Take a source's face, or say which of the sources has none."""
    bench.checkpoint()
    artifact = job.sources[position]
    picture = read_image(bench.path_of(artifact))
    try:
        return DraftSource.from_image(picture, models.detector, models.mesh)
    except FaultError as error:
        name = artifact.key.rsplit("/", 1)[-1]
        raise FaultError(error.fault.code, f"Source {position + 1} of {len(job.sources)}: {name}.") from error
