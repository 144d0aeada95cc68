"""Face swap: the source's identity is put on the selected faces of the target."""

from typing import Final

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Stage
from gpu_tasks.contract.options import FaceSelection
from gpu_tasks.draft.models import FaceModels, face_models
from gpu_tasks.draft.source import DraftSource
from gpu_tasks.draft.swap import DraftSwap
from gpu_tasks.faces.tracker import TrackedFace
from gpu_tasks.media.probe import probe
from gpu_tasks.media.still import read_image
from gpu_tasks.media.writer import NVENC, X264
from gpu_tasks.runtime.frames import Changed, Encoding, Pixels, render
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.unsupported import options_without_effect, refuse

_ENCODERS: Final = (X264, NVENC)
_HONOURED: Final = frozenset({"output_video_encoder", "output_video_preset"})


class FaceSwap:
    """The draft engine's face swap."""

    stage: Final = Stage.FACEFUSION

    def check(self, job: FaceFusionJob) -> None:
        if job.face_map:
            raise refuse("face_map", "one source for all selected faces is what is built.")
        if job.face_selection.mode == "reference":
            raise refuse("face_selection.mode", "reference is not built; use many or one.")
        if "face_swapper" not in job.options.processors:
            raise refuse("processors", "the draft engine only swaps faces.")
        if job.options.output_video_encoder not in _ENCODERS:
            raise refuse("output_video_encoder", f"use one of {', '.join(_ENCODERS)}.")

    def inputs(self, job: FaceFusionJob) -> tuple[Artifact, ...]:
        return (job.target, *job.sources)

    def run(self, job: FaceFusionJob, bench: Bench) -> Product:
        models = face_models(bench.threads)
        swap = DraftSwap(tuple(_source(job, position, bench, models) for position in range(len(job.sources))))
        tracker = models.new_tracker()
        selection = _Selection(job.face_selection)

        def change(_index: int, pixels: Pixels) -> Changed:
            faces = selection.among(tracker.track(pixels))
            for face in faces:
                bench.checkpoint()
                pixels = swap.apply(pixels, face.mesh_468, track_id=face.track_id)
            return Changed(pixels, has_face=bool(faces))

        target = bench.path_of(job.target)
        return render(
            job,
            bench,
            change,
            sound=target if probe(target).audio is not None else None,
            encoding=Encoding(job.options.output_video_encoder, job.options.output_video_preset),
            notes=options_without_effect(job.options, _HONOURED),
        )


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


class _Selection:
    """Which of a frame's faces are swapped; a face that was chosen by its place is kept while it is seen."""

    def __init__(self, selection: FaceSelection) -> None:
        self._selection = selection
        self._track_id: int | None = None

    def among(self, faces: tuple[TrackedFace, ...]) -> tuple[TrackedFace, ...]:
        if self._selection.mode == "many":
            return faces
        for face in faces:
            if face.track_id == self._track_id:
                return (face,)
        from_left = sorted(faces, key=lambda face: float(face.mesh_468[:, 0].mean()))
        chosen = tuple(from_left[self._selection.position : self._selection.position + 1])
        self._track_id = chosen[0].track_id if chosen else None
        return chosen
