"""Lip-sync by a network: one pass over the frames, many of them through the network at once."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.draft.lips import DraftLips
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.align import paste_back
from gpu_tasks.faces.arrays import Affine, Floats, Frame
from gpu_tasks.media.writer import NVENC, X264
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.finding import Finder, face_finder
from gpu_tasks.runtime.frames import CHANGING, Changed, Encoding, encode, played_frames
from gpu_tasks.runtime.overlap import ahead
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.warm import Warm, Weights
from gpu_tasks.wav2lip import options
from gpu_tasks.wav2lip.engine import Alignment, LipNetwork
from gpu_tasks.wav2lip.finishing import Enhancer, Occluder
from gpu_tasks.wav2lip.listening import Heard, listen
from gpu_tasks.wav2lip.loading import load
from gpu_tasks.wav2lip.picture import Crop, crop_of, face_affine, template_affine

# One in use and the one before it: callers rarely change between more.
_MOST_NETWORKS: Final = 2
_FRAMES_AHEAD: Final = 4
_BATCHES_AHEAD: Final = 1
_FADE_SECONDS: Final = 0.5
_X264_PRESET: Final = "veryfast"
_NVENC_PRESET: Final = "p4"
_CLOSED: Final = 0.0
_RELAXED: Final = 0.5


class _Face(NamedTuple):
    """A face that speaks; in a pause its crop is not needed."""

    mesh_468: Floats
    crop: Crop | None


class _Seen(NamedTuple):
    place: int
    pixels: Frame
    faces: tuple[_Face, ...]


class _Said(NamedTuple):
    """A group of frames and what the network made of their crops, (crops, size, size, 3) float32 BGR, 0..255."""

    frames: tuple[_Seen, ...]
    crops: Floats


@dataclass(frozen=True, slots=True)
class Equipment:
    """The networks of a job."""

    network: LipNetwork
    batches: Batches
    enhancer: Enhancer | None
    occluder: Occluder | None
    notes: tuple[str, ...] = ()


class NeuralLips:
    """The neural engine's lip-sync. Its networks stay loaded for the next job.

    Args:
        weights: Where the models lie.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._networks: Warm[tuple[LipNetwork, Batches]] = Warm(_MOST_NETWORKS)
        self._enhancers: Warm[Enhancer] = Warm(1)
        self._occluders: Warm[Occluder] = Warm(1)

    def run(self, job: Wav2LipJob, bench: Bench) -> Product:
        heard = listen(job, bench)
        equipment = self.equip(job, bench)
        on_gpu = equipment.network.on_gpu
        encoding = Encoding(NVENC, _NVENC_PRESET) if on_gpu else Encoding(X264, _X264_PRESET)
        sound = bench.path_of(job.driving_audio)
        with self.frames(job, bench, heard, equipment) as changed:
            return encode(job, bench, changed, sound=sound, encoding=encoding, notes=equipment.notes)

    def equip(self, job: Wav2LipJob, bench: Bench) -> Equipment:
        """Load what the job's options name, unless it is loaded already.

        Raises:
            FaultError: As `load`; the job's enhancer and occluder must be there as well.
        """
        threads, model = bench.threads, job.options.lip_syncer_model
        bench.report(0, job.frames.frame_count, "loading models")
        network, batches = self._networks.get(model, lambda: _with_batches(load(model, self._weights, threads=threads)))
        bench.checkpoint()
        enhancer, notes = self._enhancer(job, threads)
        bench.checkpoint()
        wants_occluder = job.options.face_occluder
        occluder = self._occluders.get("", lambda: Occluder(self._weights, threads=threads)) if wants_occluder else None
        return Equipment(network, batches, enhancer, occluder, notes)

    @contextmanager
    def frames(self, job: Wav2LipJob, bench: Bench, heard: Heard, equipment: Equipment) -> Iterator[Generator[Changed]]:
        """Open the changed frames, in order, as they are before they are encoded.

        Decoding and cropping, the network, and what comes after it each have a thread; only so many frames are
        between them.
        """
        with face_finder(job, bench, face_models(bench.threads), options.speaker_of(job)) as find:
            pass_ = _Pass(job, bench, heard, equipment, find)
            with closing(pass_.changed()) as changed:
                yield changed

    def _enhancer(self, job: Wav2LipJob, threads: int) -> tuple[Enhancer | None, tuple[str, ...]]:
        model = options.enhancer_of(job)
        if model is None or not job.options.blending:
            return None, ()
        try:
            return self._enhancers.get(model, lambda: Enhancer(model, self._weights, threads=threads)), ()
        except FaultError as error:
            if options.wants_best_enhancer(job) and error.fault.code is FaultCode.MODEL_MISSING:
                return None, (f"enhancer auto enhanced nothing: {model} is not installed on this worker",)
            raise


@dataclass(frozen=True, slots=True)
class _Pass:
    """One way through a job's frames."""

    job: Wav2LipJob
    bench: Bench
    heard: Heard
    equipment: Equipment
    find: Finder

    def changed(self) -> Generator[Changed]:
        lips, total, done = DraftLips(), self.job.frames.frame_count, 0
        seen = ahead(self._seen(), most_waiting=_FRAMES_AHEAD)
        with closing(ahead(self._said(seen), most_waiting=_BATCHES_AHEAD)) as groups:
            for group in groups:
                crops = iter(group.crops)
                for frame in group.frames:
                    self.bench.checkpoint()
                    self.bench.report(done, total, CHANGING)
                    done += 1
                    yield Changed(self._finished(frame, crops, lips), has_face=bool(frame.faces))

    def _seen(self) -> Generator[_Seen]:
        with closing(played_frames(self.job, self.bench)) as frames:
            for index, pixels in frames:
                faces = tuple(self._face(index, pixels, face.mesh_468) for face in self.find(index, pixels))
                yield _Seen(index, pixels, faces)

    def _face(self, index: int, pixels: Frame, mesh_468: Floats) -> _Face:
        if not self.heard.speech[index]:
            return _Face(mesh_468, None)
        size, only = self.equipment.network.size, self.job.options.face_mask
        return _Face(mesh_468, crop_of(pixels, mesh_468, self._affine(mesh_468), size, lower_face_only=only))

    def _affine(self, mesh_468: Floats) -> Affine:
        network = self.equipment.network
        match network.alignment:
            case Alignment.FACE:
                return face_affine(mesh_468, network.size, portrait=options.is_portrait(self.job))
            case Alignment.FFHQ:
                return template_affine(mesh_468, network.size)

    def _said(self, seen: Generator[_Seen]) -> Generator[_Said]:
        with closing(seen):
            for group in _grouped(seen, self.equipment.network.most_at_once):
                self.bench.checkpoint()
                heard = [self.heard.chunks.at(frame.place) for frame in group for face in frame.faces if face.crop]
                crops = [face.crop.pixels for frame in group for face in frame.faces if face.crop]
                if not crops:
                    yield _Said(group, np.empty((0, 0, 0, 3), np.float32))
                    continue
                equipment = self.equipment
                yield _Said(group, equipment.batches.run(equipment.network.say, np.stack(heard), np.stack(crops)))

    def _finished(self, frame: _Seen, crops: Iterator[Floats], lips: DraftLips) -> Frame:
        share = float(self.heard.speech[frame.place])
        pixels = frame.pixels
        for face in frame.faces:
            before = pixels
            if share < 1:
                # In a pause networks babble, and show the mouth of the footage: a closed one is what is meant.
                pixels = lips.apply(pixels, face.mesh_468, _CLOSED, _RELAXED)
            if face.crop is not None:
                mask = face.crop.mask * np.float32(share)
                pixels = paste_back(pixels, next(crops), mask, face.crop.affine)
                pixels = self._enhanced(pixels, face.mesh_468, share)
            if self.equipment.occluder is not None:
                pixels = self.equipment.occluder.uncovered(before, pixels, face.mesh_468)
        return self._faded(pixels, frame.place)

    def _enhanced(self, pixels: Frame, mesh_468: Floats, share: float) -> Frame:
        if self.equipment.enhancer is None:
            return pixels
        return self.equipment.enhancer.enhance(pixels, mesh_468, share * self.job.options.blending / 100)

    def _faded(self, pixels: Frame, index: int) -> Frame:
        if not self.job.options.fade:
            return pixels
        timeline = self.job.timeline
        length = min(_FADE_SECONDS * float(timeline.fps), timeline.frame_count / 2)
        share = min(index + 0.5, timeline.frame_count - index - 0.5) / length
        return pixels if share >= 1 else np.asarray(np.rint(pixels * np.float32(share)), np.uint8)


def _with_batches(network: LipNetwork) -> tuple[LipNetwork, Batches]:
    # Together, because what did not fit once will not fit the next job either.
    return network, Batches(network.most_at_once)


def _grouped(seen: Iterator[_Seen], crops_wanted: int) -> Iterator[tuple[_Seen, ...]]:
    """Collect frames until they fill a batch; those without a crop must not collect without end."""
    group: list[_Seen] = []
    crops = 0
    for frame in seen:
        group.append(frame)
        crops += sum(face.crop is not None for face in frame.faces)
        if crops >= crops_wanted or len(group) >= 2 * crops_wanted:
            yield tuple(group)
            group, crops = [], 0
    if group:
        yield tuple(group)
