"""How a record changes: pure functions from one TaskRecord to the next.

Whoever writes late changes nothing that is newer: a final record stays as it is, a stage and the percent never go
back, and every change raises the revision by one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import (
    Cost,
    ErrorRecord,
    ProgressEntry,
    RecordStage,
    ResultRecord,
    Status,
    TaskRecord,
)

# One JSON string per record: a run of an hour must not grow it without end.
MAX_PROGRESS = 200

_ORDER = {stage: place for place, stage in enumerate(RecordStage)}
# Entries of this kind replace their predecessor of the same stage: readers want the newest percent only.
_TICKING = {"kind": "progress"}


def queued(task_id: str, request: Mapping[str, Any], *, now: datetime) -> TaskRecord:
    """Return the first record of a run, without the declaration of consent: that is for the audit chain alone."""
    return TaskRecord(
        task_id=task_id,
        status=Status.PENDING,
        stage=RecordStage.QUEUED,
        created_at=now,
        updated_at=now,
        request={name: value for name, value in request.items() if name != "consent"},
        progress=(ProgressEntry(timestamp=now, message="Queued.", stage=RecordStage.QUEUED),),
        revision=1,
    )


def entered(record: TaskRecord, stage: Stage, *, now: datetime, message: str = "", percent: float = 0.0) -> TaskRecord:
    """The run works on `stage`; `percent` is of the whole run."""
    reached = RecordStage(stage)
    if record.status.is_final:
        return record
    later = max(record.stage, reached, key=_ORDER.__getitem__)
    entry = ProgressEntry(timestamp=now, message=message or f"Entered {reached}.", stage=reached)
    return _next(
        record,
        now,
        status=Status.RUNNING,
        stage=later,
        percent=max(record.percent, percent),
        progress=_bounded((*record.progress, entry)),
    )


def progressed(record: TaskRecord, stage: Stage, percent: float, message: str, *, now: datetime) -> TaskRecord:
    """The run has come to `percent` of the whole; news of a stage that is over are ignored."""
    told = RecordStage(stage)
    if record.status.is_final or _ORDER[told] < _ORDER[record.stage] or percent < record.percent:
        return record
    entry = ProgressEntry(timestamp=now, message=message, stage=told, extra={**_TICKING, "percent": round(percent, 1)})
    earlier = record.progress
    if earlier and earlier[-1].stage is told and earlier[-1].extra.get("kind") == _TICKING["kind"]:
        earlier = earlier[:-1]
    return _next(record, now, percent=percent, progress=_bounded((*earlier, entry)))


def noted(
    record: TaskRecord,
    *,
    now: datetime,
    details: Mapping[str, Any] | None = None,
    media: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> TaskRecord:
    """Add facts under their names; equal facts change nothing, so that repeats cost no write."""
    if record.status.is_final:
        return record
    changes = {
        "details": {**record.details, **(details or {})},
        "media": {**record.media, **(media or {})},
        "provenance": {**record.provenance, **(provenance or {})},
    }
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    return _next(record, now, **changes)


def charged(
    record: TaskRecord, stage: Stage, gpu_seconds: float, usd: float | None = None, *, now: datetime
) -> TaskRecord:
    """Set what a stage of this run has cost so far in billed GPU seconds; zero when an earlier result was used again.

    `usd` is what they cost, None where no price is known.
    """
    if record.status.is_final:
        return record
    by_stage = {**record.cost.by_stage, stage.value: round(gpu_seconds, 3)}
    usd_by_stage = {**record.cost.usd_by_stage, stage.value: usd}
    priced = [one for one in usd_by_stage.values() if one is not None]
    cost = Cost(
        gpu_seconds=round(sum(by_stage.values()), 3),
        usd=round(sum(priced), 6) if len(priced) == len(usd_by_stage) else None,
        by_stage=by_stage,
        usd_by_stage=usd_by_stage,
    )
    return record if cost == record.cost else _next(record, now, cost=cost)


def completed(record: TaskRecord, result: ResultRecord, *, now: datetime) -> TaskRecord:
    """The run ended with a result."""
    intermediate = result.intermediate or {}
    return _ended(record, Status.COMPLETED, "Completed.", now, result=result, intermediate=intermediate, percent=100.0)


def failed(
    record: TaskRecord, error: ErrorRecord, *, now: datetime, details: Mapping[str, Any] | None = None
) -> TaskRecord:
    """The run ended without a result."""
    return _ended(record, Status.FAILED, error.detail, now, error=error, details={**record.details, **(details or {})})


def cancelled(record: TaskRecord, error: ErrorRecord | None = None, *, now: datetime) -> TaskRecord:
    """The run was ended by its caller."""
    return _ended(record, Status.CANCELLED, "Cancelled.", now, error=error)


def restarted(record: TaskRecord, *, attempts: int, now: datetime) -> TaskRecord:
    """The orchestrator runs the same run again: the only way out of a final record, and only for a newer attempt.

    Whoever was told of a result keeps it: a completed record only counts the start.
    """
    if attempts <= record.attempts:
        return record
    if record.status is Status.COMPLETED:
        return _next(record, now, attempts=attempts)
    entry = ProgressEntry(timestamp=now, message=f"Started again (attempt {attempts}).", stage=RecordStage.QUEUED)
    return _next(
        record,
        now,
        status=Status.PENDING,
        stage=RecordStage.QUEUED,
        percent=0.0,
        attempts=attempts,
        error=None,
        result=None,
        progress=_bounded((*record.progress, entry)),
    )


def _ended(record: TaskRecord, status: Status, message: str, now: datetime, **changes: object) -> TaskRecord:
    if record.status.is_final:
        return record
    stage = RecordStage(status)
    entry = ProgressEntry(timestamp=now, message=message, stage=stage)
    return _next(
        record,
        now,
        status=status,
        stage=stage,
        eta_seconds=None,
        queue_position=None,
        progress=_bounded((*record.progress, entry)),
        **changes,
    )


def _next(record: TaskRecord, now: datetime, **changes: object) -> TaskRecord:
    # Clocks of two machines differ: what a reader sees must not jump back.
    later = max(now, record.updated_at)
    return record.model_copy(update={**changes, "updated_at": later, "revision": record.revision + 1})


def _bounded(progress: tuple[ProgressEntry, ...]) -> tuple[ProgressEntry, ...]:
    """Keep when the run began and what happened last."""
    if len(progress) <= MAX_PROGRESS:
        return progress
    return (progress[0], *progress[-(MAX_PROGRESS - 1) :])
