"""A run in a page of Markdown, for operators who look at it in the Prefect UI."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import RecordStage, TaskRecord

# The lasting address of an object; signed ones expire and are never stored.
Link: TypeAlias = Callable[[str], str | None]


def no_link(_key: str) -> None:
    """No object has a lasting address: the bucket is not public."""


def summary_of(record: TaskRecord, link: Link = no_link) -> str:
    """Return a heading, what came out and why, then timings, attempts and cost by stage, and the objects."""
    lines = [f"# {record.status.capitalize()}", ""]
    if record.error is not None:
        where = f" in {record.error.stage}" if record.error.stage else ""
        again = "Trying again can help." if record.error.retryable else "Trying again will not help."
        lines += [f"**{record.error.error}**{where}: {record.error.detail} {again}", ""]
    lines += _table(("", ""), _facts(record))
    lines += ["", "## Stages", "", *_table(("stage", "took", "jobs", "attempts", "GPU seconds"), _stages(record))]
    lines += [
        "",
        "## Objects",
        "",
        *_table(("", "key"), [(what, _linked(key, link)) for what, key in _objects(record)]),
    ]
    return "\n".join(lines)


def _facts(record: TaskRecord) -> list[tuple[str, str]]:
    quality = record.details.get("quality", {})
    segments = record.details.get("segments", {}).get("count")
    facts: dict[str, object] = {
        "took": f"{(record.updated_at - record.created_at).total_seconds():.1f} s",
        "duration of the result": f"{record.result.duration_sec:.2f} s" if record.result else None,
        "engine": record.details.get("engine"),
        "quality": quality.get("verdict") or quality.get("reason"),
        "segments": segments,
        "GPU seconds": f"{record.cost.gpu_seconds:.1f}",
        "cost": None if record.cost.usd is None else f"{record.cost.usd:.4f} USD",
        "attempts of the run": record.attempts,
        "labels": ", ".join(f"{name}={value}" for name, value in record.request.get("labels", {}).items()),
    }
    return [(name, _cell(value)) for name, value in facts.items() if value not in (None, "")]


def _stages(record: TaskRecord) -> Iterator[tuple[str, ...]]:
    """Yield a row per stage that the run has entered, the last time that it did."""
    begun = {entry.stage: entry.timestamp for entry in record.progress if "kind" not in entry.extra}
    ends = {RecordStage.COMPLETED, RecordStage.FAILED, RecordStage.CANCELLED}
    in_order = sorted((at, stage) for stage, at in begun.items())
    for (at, stage), (until, _) in pairwise([*in_order, (record.updated_at, RecordStage.COMPLETED)]):
        if stage in ends:
            return
        details = record.details
        reused = " (an earlier run's)" if details.get(f"{stage}_reused") else ""
        is_gpu = stage.value in {Stage.WAV2LIP, Stage.FACEFUSION}
        count = details.get("segments", {}).get("count", 1) if is_gpu else ""
        spent = record.cost.by_stage.get(stage)
        yield (
            stage.value,
            f"{(until - at).total_seconds():.1f} s",
            f"{count}{reused}",
            str(details.get(f"{stage}_attempts", "")),
            "" if spent is None else f"{spent:.1f}",
        )


def _objects(record: TaskRecord) -> Iterator[tuple[str, str]]:
    request = record.request
    for what, name in (("target", "target_key"), ("driving audio", "audio_key")):
        if request.get(name):
            yield what, request[name]
    for key in request.get("source_keys") or ():
        yield "source", key
    if record.result is not None:
        yield "result", record.result.output_key
    for stage, kept in record.intermediate.items():
        yield f"after {stage}", kept.output_key


def _table(heads: tuple[str, ...], rows: "Sequence[tuple[str, ...]] | Iterator[tuple[str, ...]]") -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *(f"| {' | '.join(row)} |" for row in rows)]


def _linked(key: str, link: Link) -> str:
    url = link(key)
    return f"[{_cell(key)}]({url})" if url else _cell(key)


def _cell(value: object) -> str:
    # Keys come from callers: a pipe would end the cell.
    return f"`{value}`".replace("|", "\\|")
