"""What maintenance finds, from records, runs and keys alone. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from deployments.fleet.planning import Plan
from deployments.fleet.resources import Kind
from gpu_tasks.contract.records import TaskRecord

# Labels are what callers put on requests; a run without any is counted under this one.
NO_LABEL: Final = "-"
# RunPod lowers an idle endpoint's max workers to 2 after three days and to 0 after seven, and never raises them again.
LOWERED_BY_RUNPOD: Final = frozenset({"0", "2"})


class CostRow(BaseModel):
    """What the runs of one day and label have cost; `usd` is None when one of them has no price.

    A run with two labels is counted under each: rows of one day are not to be added up.
    """

    model_config = ConfigDict(frozen=True)

    day: date
    label: str
    runs: int
    gpu_seconds: float
    usd: float | None


class StuckRun(BaseModel):
    """A run that has been in one state for longer than runs are."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    state: str
    hours: float


def cost_rows(records: Iterable[TaskRecord]) -> tuple[CostRow, ...]:
    """Return costs by day of creation (UTC) and label, the latest day first and the dearest label first in it."""
    by_place: dict[tuple[date, str], list[TaskRecord]] = defaultdict(list)
    for record in records:
        for label in _labels(record):
            by_place[record.created_at.date(), label].append(record)
    rows = [
        CostRow(
            day=day,
            label=label,
            runs=len(those),
            gpu_seconds=sum(record.cost.gpu_seconds for record in those),
            usd=_sum(record.cost.usd for record in those),
        )
        for (day, label), those in by_place.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.day.toordinal(), -row.gpu_seconds, row.label)))


def keys_in_use(records: Iterable[TaskRecord]) -> frozenset[str]:
    """Return every object key that a record names, in its request, its result or its intermediates."""
    return frozenset(
        key for record in records for key in _strings(record.model_dump(mode="json")) if _looks_like_a_key(key)
    )


def stuck_runs(runs: Iterable[tuple[str, str, datetime]], *, now: datetime, hours: float) -> tuple[StuckRun, ...]:
    """Return the runs (id, state, since) that have been in their state for too long, the longest first."""
    aged = [
        StuckRun(task_id=id_, state=state, hours=(now - since).total_seconds() / 3600) for id_, state, since in runs
    ]
    return tuple(sorted((run for run in aged if run.hours > hours), key=lambda run: -run.hours))


def lowered_endpoints(plan: Plan) -> tuple[str, ...]:
    """Return the endpoints whose max workers RunPod itself has lowered because they were idle."""
    return tuple(
        change.name
        for change in plan.changes
        if change.kind is Kind.ENDPOINT
        for one in change.differences
        if one.field == "workers_max" and one.found in LOWERED_BY_RUNPOD and int(one.found) < int(one.wanted)
    )


def _labels(record: TaskRecord) -> list[str]:
    labels = record.request.get("labels") or {}
    return [f"{name}={value}" for name, value in labels.items()] or [NO_LABEL]


def _sum(parts: Iterable[float | None]) -> float | None:
    known = list(parts)
    return None if any(part is None for part in known) else sum(part for part in known if part is not None)


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401  # JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)


def _looks_like_a_key(text: str) -> bool:
    return text.startswith(("uploads/", "outputs/"))
