"""`lipswap ledger`: every execution on a GPU, why it was made and what it cost."""

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from deployments.command.exits import told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.command.reaching import bucket_of
from deployments.console import Told
from deployments.wording.messages import Message
from flows.accounts import ExecutionEntry, JobAccount, Spent
from flows.ledger import read_accounts
from gpu_tasks.storage import connect

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_SHORT = 12


def ledger(
    context: typer.Context,
    task: Annotated[str | None, typer.Option("--task", help="Only GPU jobs of this task.")] = None,
    fingerprint: Annotated[str, typer.Option("--fingerprint", help="Only the job whose fingerprint begins so.")] = "",
    since: Annotated[
        str | None, typer.Option("--since", help="Only what was claimed since then: 90m, 24h, 7d, or a date and time.")
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """List every execution on a GPU with its cause, worker, seconds and cost."""
    told = told_in(context)
    begin = _moment(since)
    with told_errors(told, as_json=as_json):
        found = read_accounts(connect(bucket_of(data)), fingerprint=fingerprint, task_id=task, since=begin)
        accounts = [account for account in found if _is_in(account, begin)]
    entries = [entry for account in accounts for entry in account.executions]
    spent = sum((entry.spent for entry in entries), Spent())
    if as_json:
        jobs = [account.model_dump(mode="json") for account in accounts]
        sys.stdout.write(json.dumps({"jobs": jobs, **spent.model_dump()}, ensure_ascii=False) + "\n")
        return
    _show(entries, told)
    told.say(
        Message.LEDGER_SUM,
        jobs=len(accounts),
        executions=sum(len(account.worked) for account in accounts),
        repeats=sum(len(account.repeats) for account in accounts),
        seconds=spent.gpu_seconds,
        usd=_usd(spent.usd, told),
    )


def _show(entries: Sequence[ExecutionEntry], told: Told) -> None:
    headings = tuple(told.text(Message.LEDGER_HEADINGS).split("|"))
    told.rows(headings, [_cells(entry, told) for entry in entries])


def _cells(entry: ExecutionEntry, told: Told) -> tuple[str, ...]:
    return (
        entry.stage,
        entry.fingerprint[:_SHORT],
        f"{entry.attempt}.{entry.execution}",
        entry.cause,
        entry.outcome,
        entry.worker_id or "-",
        f"{entry.claimed_at:%Y-%m-%d %H:%M:%S}",
        # An upper bound where nobody has told how long it really was.
        f"{'<' if entry.is_estimate else ''}{entry.gpu_seconds:.1f}",
        _usd(entry.usd, told),
        entry.task_id,
    )


def _usd(usd: float | None, told: Told) -> str:
    return told.text(Message.NO_PRICE) if usd is None else f"{usd:.5f}"


def _is_in(account: JobAccount, begin: datetime | None) -> bool:
    return begin is None or any((entry.started_at or entry.claimed_at) >= begin for entry in account.executions)


def _moment(since: str | None) -> datetime | None:
    """Read how long ago, or when; a time without a zone is UTC."""
    if since is None:
        return None
    if found := re.fullmatch(r"(\d+)([mhd])", since):
        return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise typer.BadParameter("Such as 90m, 24h, 7d or 2026-11-25T12:00.", param_hint="--since") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
