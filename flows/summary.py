"""A run in a few lines of Markdown, for operators who look at it in the Prefect UI."""

from gpu_tasks.contract.records import TaskRecord


def summary_of(record: TaskRecord) -> str:
    """Return a heading, a table of facts, and the reason when the run failed."""
    facts: dict[str, object] = {
        "status": record.status,
        "result": record.result.output_key if record.result else None,
        "duration": f"{record.result.duration_sec:.2f} s" if record.result else None,
        "engine": record.details.get("engine"),
        "quality": record.details.get("quality", {}).get("verdict"),
        "GPU seconds": f"{record.cost.gpu_seconds:.1f}",
        "by stage": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in record.cost.by_stage.items()),
        "took": f"{(record.updated_at - record.created_at).total_seconds():.1f} s",
        "attempts": record.attempts,
    }
    lines = [f"# {record.status.capitalize()}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in facts.items() if value not in (None, "")]
    if record.error is not None:
        where = f" in {record.error.stage}" if record.error.stage else ""
        lines += ["", f"**{record.error.error}**{where}: {record.error.detail}"]
    return "\n".join(lines)


def _cell(value: object) -> str:
    # Keys come from callers: a pipe would end the cell.
    return f"`{value}`".replace("|", "\\|")
