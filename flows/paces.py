"""How long stages take per frame: from what lately ended here, else from figures of others. Pure functions."""

from collections.abc import Iterable, Mapping
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.records import Status, TaskRecord

# Seconds of one worker per frame, where nothing of the kind has ended here yet.
# Draft: our engine on one core, 640x360, one face (lips 36 ms, swap 16 ms of CPU, and as much again for decoding and
# encoding). Neural: Wav2Lip 20 to 30 s for a clip of 10 s on an RTX 4090 (Rudrabha/Wav2Lip issue 749), FaceFusion 4.3
# frames a second at 1384x1190 (reported for 3.3.2); both with whatever those programs do besides.
_OF_OTHERS: Final[Mapping[tuple[Engine, Stage], float]] = MappingProxyType(
    {
        (Engine.DRAFT, Stage.WAV2LIP): 0.06,
        (Engine.DRAFT, Stage.FACEFUSION): 0.04,
        (Engine.NEURAL, Stage.WAV2LIP): 0.10,
        (Engine.NEURAL, Stage.FACEFUSION): 0.23,
    }
)
# What a run needs besides its GPU jobs: tracking, joining, signing, measuring (10 to 30 ms a frame), and a start.
_BESIDES_PER_FRAME: Final = 0.03
_BESIDES_SECONDS: Final = 5.0


class Pace(NamedTuple):
    """Seconds per frame; `is_measured` when runs of this service say so."""

    seconds_per_frame: float
    is_measured: bool


def pace_of(engine: Engine, stage: Stage, records: Iterable[TaskRecord]) -> Pace:
    """Return the median of what the stage took in runs that paid for it."""
    seen = [
        seconds / frames
        for record in records
        if (frames := _frames(record)) and (seconds := _paid(record, engine, stage))
    ]
    return Pace(median(seen), is_measured=True) if seen else Pace(_OF_OTHERS[engine, stage], is_measured=False)


def seconds_besides(frame_count: int, records: Iterable[TaskRecord]) -> float:
    """Return what a run of so many frames takes besides its GPU jobs."""
    besides = [
        max(0.0, (record.updated_at - record.created_at).total_seconds() - record.cost.gpu_seconds) / frames
        for record in records
        if record.status is Status.COMPLETED and record.cost.gpu_seconds and (frames := _frames(record))
    ]
    return frame_count * median(besides) if besides else _BESIDES_SECONDS + frame_count * _BESIDES_PER_FRAME


def _frames(record: TaskRecord) -> int:
    timeline = record.media.get("timeline")
    count = timeline.get("frame_count") if isinstance(timeline, dict) else None
    return count if isinstance(count, int) else 0


def _paid(record: TaskRecord, engine: Engine, stage: Stage) -> float:
    """Return what the stage took in a run, 0 where it was another engine's or came from an earlier run."""
    told = record.provenance.get(stage.value)
    is_engine = isinstance(told, dict) and told.get("engine") == engine
    return record.cost.by_stage.get(stage.value, 0.0) if is_engine else 0.0
