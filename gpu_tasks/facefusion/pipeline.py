"""Face swap: the source's identity is put on the selected faces of the target."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Stage
from gpu_tasks.draft.casting import EVERYONE, Casting, refusal_of
from gpu_tasks.draft.models import FaceModels, face_models
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
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
    """The draft engine's face swap."""

    stage: Final = Stage.FACEFUSION

    def check(self, job: FaceFusionJob) -> None:
        for field, why in refusal_of(job.face_selection, job.face_map, len(job.sources)).items():
            raise refuse(field, why)
        if "face_swapper" not in job.options.processors:
            raise refuse("processors", "the draft engine only swaps faces.")
        if job.options.output_video_encoder not in _ENCODERS:
            raise refuse("output_video_encoder", f"use one of {', '.join(_ENCODERS)}.")

    def inputs(self, job: FaceFusionJob) -> tuple[Artifact, ...]:
        return (job.target, *job.sources, *([job.tracks] if job.tracks else []))

    def run(self, job: FaceFusionJob, bench: Bench) -> Product:
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
                    pixels = swaps[casting.part_of(face)].apply(pixels, face.mesh_468, track_id=remembered)
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
