"""The networks of a job, loaded once and kept for the next one."""

from dataclasses import dataclass
from typing import Final

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.contract.manifest import ModelRole, manifest
from gpu_tasks.contract.options import FaceFusionOptions
from gpu_tasks.draft.models import FaceModels, face_models
from gpu_tasks.facefusion import options as rules
from gpu_tasks.facefusion.content import CONTENT_MODELS, ContentModel
from gpu_tasks.facefusion.detectors import DETECTORS, OnnxDetector
from gpu_tasks.facefusion.embedding import EMBEDDING_SIZE, Converter, Embedder
from gpu_tasks.facefusion.enhancers import ENHANCERS, FRAME_ENHANCERS, FaceEnhancer, FrameEnhancer
from gpu_tasks.facefusion.landmarks import LANDMARKERS, Landmarker
from gpu_tasks.facefusion.looking import Points
from gpu_tasks.facefusion.masks import Occluder, Parser
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.facefusion.swappers import SWAPPERS, Source, Swapper
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.detector import Detects
from gpu_tasks.runtime.devices import Devices
from gpu_tasks.runtime.onnx_file import matrix_of
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.runtime.sessions import OnnxNetwork
from gpu_tasks.runtime.warm import Warm, Weights

# A job with everything switched on has a dozen.
_MOST_NETWORKS: Final = 12
# Its space is the swappers' own.
_EMBEDDER: Final = "arcface_w600k_r50"
_NOT_THERE: Final = frozenset({FaultCode.MODEL_MISSING, FaultCode.LICENCE_NOT_ACKNOWLEDGED})


@dataclass(frozen=True, slots=True)
class Equipment:
    """The networks of a job; None where its options need none."""

    models: FaceModels
    detector: Detects
    points: Points
    embedder: Embedder | None
    swapper: Swapper | None
    face_enhancer: FaceEnhancer | None
    frame_enhancer: FrameEnhancer | None
    occluder: Occluder | None
    parser: Parser | None
    content_models: tuple[ContentModel, ...]
    notes: tuple[str, ...] = ()


class Armoury:
    """Loads networks and keeps those that were used last.

    Args:
        weights: Where the models lie.
        settings: Of this worker.
    """

    def __init__(self, weights: Weights, settings: FaceSwapSettings) -> None:
        self._weights = weights
        self._settings = settings
        self._nets: Warm[OnnxNetwork] = Warm(_MOST_NETWORKS)
        self._emaps: Warm[Floats | None] = Warm(2)
        self._proven: set[str] = set()

    def equip(self, job: FaceFusionJob, bench: Bench) -> Equipment:
        """Load what a job's options name, unless it is loaded already.

        Raises:
            FaultError: What the weights say of a file (missing, corrupt, licence), MODEL_CORRUPT when it holds another
                network or one that does not work, OUT_OF_MEMORY.
            JobCancelledError: The job was stopped.
        """
        options = job.options
        load = _Loading(self._nets, self._weights, self._devices(options, bench), bench)
        done, masks = set(options.processors), set(options.face_mask_types)
        detector, notes = self._detector(load, options, face_models(bench.threads))
        landmarker = options.face_landmarker_model
        return Equipment(
            models=face_models(bench.threads),
            detector=detector,
            points=Points(
                Landmarker(load.net(landmarker), LANDMARKERS[landmarker]) if landmarker in LANDMARKERS else None
            ),
            embedder=self._embedder(load, job),
            swapper=self._swapper(load, options) if rules.swaps(options) else None,
            face_enhancer=self._face_enhancer(load, options) if "face_enhancer" in done else None,
            frame_enhancer=_frame_enhancer(load, options) if "frame_enhancer" in done else None,
            occluder=Occluder(load.net(options.face_occluder_model)) if "occlusion" in masks else None,
            parser=Parser(load.net(options.face_parser_model)) if "region" in masks else None,
            content_models=tuple(
                ContentModel(load.net(name), CONTENT_MODELS[name]) for name in self._settings.content_models
            ),
            notes=(*rules.notes_of(options), *notes),
        )

    def _devices(self, options: FaceFusionOptions, bench: Bench) -> Devices:
        settings = self._settings
        return Devices(
            threads=bench.threads,
            engine_cache=settings.engine_cache,
            half_precision=settings.half_precision,
            wanted=options.execution_providers,
            free_batch=settings.free_batch,
        )

    def _detector(
        self, load: "_Loading", options: FaceFusionOptions, models: FaceModels
    ) -> tuple[Detects, tuple[str, ...]]:
        name = options.face_detector_model
        if name == rules.BUNDLED_DETECTOR:
            return models.detector, ()
        facts = DETECTORS[name]
        try:
            return OnnxDetector(load.net(facts.model_id), facts), ()
        except FaultError as error:
            # The original service's default is under a licence that many will not take: nobody who did not choose it
            # shall fail for it.
            if name == rules.DEFAULT_DETECTOR and error.fault.code in _NOT_THERE:
                note = f"face_detector_model {name} is not installed on this worker; {rules.BUNDLED_DETECTOR} looked"
                return models.detector, (note,)
            raise

    def _embedder(self, load: "_Loading", job: FaceFusionJob) -> Embedder | None:
        if not rules.wants_identity(job):
            return None
        needs_swappers_own = rules.needs_embedding(job.options)
        return Embedder(load.net(_EMBEDDER if needs_swappers_own else manifest().default_for(ModelRole.FACE_EMBEDDER)))

    def _swapper(self, load: "_Loading", options: FaceFusionOptions) -> Swapper:
        name = options.face_swapper_model
        facts = SWAPPERS[name]
        emap = None
        if facts.source is Source.EMAP:
            shape = (EMBEDDING_SIZE, EMBEDDING_SIZE)
            emap = self._emaps.get(name, lambda: matrix_of(self._weights.path(name), shape))
            if emap is None:
                raise FaultError(FaultCode.MODEL_CORRUPT, f"Model {name}: It has no matrix for identities.")
        swapper = Swapper(
            load.net(name),
            facts,
            converter=Converter(load.net(facts.converter)) if facts.converter else None,
            emap=emap,
            size=options.face_swapper_pixel_boost,
        )
        if name not in self._proven:
            swapper.prove()
            self._proven.add(name)
        return swapper

    def _face_enhancer(self, load: "_Loading", options: FaceFusionOptions) -> FaceEnhancer:
        name = options.face_enhancer_model
        enhancer = FaceEnhancer(load.net(name), ENHANCERS[name], options.face_enhancer_weight)
        if name not in self._proven:
            enhancer.prove()
            self._proven.add(name)
        return enhancer


@dataclass(frozen=True, slots=True)
class _Loading:
    """Loads for one job: a stop is heard between two networks."""

    nets: Warm[OnnxNetwork]
    weights: Weights
    devices: Devices
    bench: Bench

    def net(self, model_id: str) -> OnnxNetwork:
        self.bench.checkpoint()
        path = self.weights.path(model_id)
        # Another file, device or number of threads is another network.
        name = (str(path), path.stat().st_mtime_ns, self.devices)
        return self.nets.get(name, lambda: OnnxNetwork(path, model_id, self.devices))


def _frame_enhancer(load: _Loading, options: FaceFusionOptions) -> FrameEnhancer:
    name = options.frame_enhancer_model
    return FrameEnhancer(load.net(name), FRAME_ENHANCERS[name], options.frame_enhancer_blend / 100)
