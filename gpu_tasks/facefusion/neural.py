"""The neural engine's face swap: sources, references and tracks first, then one pass over the frames."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

from gpu_tasks.contract.casting import reference_keys
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob
from gpu_tasks.facefusion import options as rules
from gpu_tasks.facefusion.content import ContentCheck
from gpu_tasks.facefusion.embedding import Identity, distance
from gpu_tasks.facefusion.equipment import Armoury, Equipment
from gpu_tasks.facefusion.looking import PictureReader, Portrait, identity_of, notes_on
from gpu_tasks.facefusion.passing import Pass
from gpu_tasks.facefusion.settings import FaceSwapSettings
from gpu_tasks.facefusion.tracked import Tracked, embed_tracks, tracked
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.faces.casting import EVERYONE, Casting, Likeness
from gpu_tasks.media.probe import probe
from gpu_tasks.runtime.frames import Changed, Encoding, encode
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.warm import Weights

# Sources of a job that are prepared at once; tracks that share one share its preparation.
_MOST_PREPARED: Final = 256


class NeuralSwap:
    """The neural engine's face swap. Its networks stay loaded for the next job.

    Args:
        weights: Where the models lie.
        settings: Of this worker.
    """

    def __init__(self, weights: Weights, settings: FaceSwapSettings) -> None:
        self._armoury = Armoury(weights, settings)
        self._settings = settings

    def run(self, job: FaceFusionJob, bench: Bench) -> Product:
        """Compute a job.

        Raises:
            FaultError: AUDIO_MERGE_FAILED when the result would have lost the target's sound, and why else there is
                no result.
        """
        sound = _sound_of(job, bench)
        bench.report(0, job.frames.frame_count, "loading models")
        equipment = self._armoury.equip(job, bench)
        encoding = Encoding(job.options.output_video_encoder, job.options.output_video_preset)
        with self.frames(job, bench, equipment) as (changed, notes):
            product = encode(job, bench, changed, sound=sound, encoding=encoding, notes=(*equipment.notes, *notes))
        if sound is not None and job.segment is None and probe(product.path).audio is None:
            raise FaultError(FaultCode.AUDIO_MERGE_FAILED)
        return product

    def equip(self, job: FaceFusionJob, bench: Bench) -> Equipment:
        """Load what a job's options name: as `Armoury.equip`."""
        return self._armoury.equip(job, bench)

    @contextmanager
    def frames(
        self, job: FaceFusionJob, bench: Bench, equipment: Equipment
    ) -> Iterator[tuple[Generator[Changed], tuple[str, ...]]]:
        """Open the changed frames, in order, as they are before they are encoded, and notes for the receipt.

        Raises:
            FaultError: NO_FACE_IN_SOURCE, NO_FACE_IN_REFERENCE or SEVERAL_FACES_IN_REFERENCE naming the picture,
                NO_FACE_DETECTED, and what media raise.
        """
        reader = PictureReader(equipment.detector, equipment.models.mesh, equipment.points, equipment.embedder)
        portraits = reader.sources(job.sources, bench) if equipment.swapper else ()
        bench.report(0, job.frames.frame_count, "finding faces")
        work = tracked(job, bench, equipment.detector, equipment.models)
        who = self._who(job, work, equipment)
        casting = Casting(job.face_selection, job.face_map, _likeness(job, bench, reader, who))
        identities = _identities(portraits, casting)
        content = ContentCheck(equipment.content_models, self._settings.content_share, job.frames, job.timeline.fps)
        with work.finder(equipment.models, casting) as find:
            source_of = _sources(job, equipment, identities, casting, who)
            run = Pass(job, bench, equipment, find, source_of, content)
            with closing(run.changed()) as changed:
                yield changed, notes_on(portraits, job.sources) if portraits else ()

    def _who(self, job: FaceFusionJob, work: Tracked, equipment: Equipment) -> Mapping[int, Floats]:
        """Say who the target's tracks are, where anybody asks."""
        is_asked = rules.mixes_target(job.options) or reference_keys(job.face_selection, job.face_map)
        if equipment.embedder is None or not is_asked:
            return {}
        return embed_tracks(work, equipment.points, equipment.embedder)


def _sound_of(job: FaceFusionJob, bench: Bench) -> Path | None:
    """Return the file whose sound goes under the result; the target's own, which after a lip-sync is the voice."""
    target = bench.path_of(job.target)
    if probe(target).audio is not None:
        return target
    if job.laid_out is not None and job.segment is None:
        # An earlier stage laid the driving audio under the whole: it got lost on the way.
        raise FaultError(FaultCode.AUDIO_MERGE_FAILED, "The target of an earlier stage came without its sound.")
    return None


def _likeness(job: FaceFusionJob, bench: Bench, reader: PictureReader, who: Mapping[int, Floats]) -> Likeness:
    asked = reference_keys(job.face_selection, job.face_map)
    portraits = reader.references([reference for reference in job.references if reference.named in asked], bench)
    return {
        name: {track_id: distance(portrait.embedding, face) for track_id, face in who.items()}
        for name, portrait in portraits.items()
    }


def _identities(portraits: tuple[Portrait, ...], casting: Casting) -> Mapping[int | None, Identity]:
    if not portraits:
        return {}
    return {part: identity_of(portraits if part is EVERYONE else (portraits[part],)) for part in casting.parts}


def _sources(
    job: FaceFusionJob,
    equipment: Equipment,
    identities: Mapping[int | None, Identity],
    casting: Casting,
    who: Mapping[int, Floats],
) -> Callable[[int], Floats]:
    """Return what prepares the source of a track, once."""
    swapper, weight = equipment.swapper, job.options.face_swapper_weight
    mixes = rules.mixes_target(job.options)

    @lru_cache(maxsize=_MOST_PREPARED)
    def of_part(part: int | None, track_id: int | None) -> Floats:
        if swapper is None:
            raise ValueError("nothing is swapped")
        target = None if track_id is None else who.get(track_id)
        return swapper.source_of(identities[part], target, weight)

    def source_of(track_id: int) -> Floats:
        return of_part(casting.part_of(track_id), track_id if mixes else None)

    return source_of
