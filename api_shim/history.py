"""Tasks in the order of their creation, newest first: the runs from Prefect, how they stand from the mirror."""

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from prefect.client.schemas.objects import FlowRun
from pydantic import ValidationError

from api_shim.rebuild import rebuilt
from api_shim.records import Records
from api_shim.run_lists import Position, RunLists, RunQuery
from api_shim.wire import TaskLine, TaskPage
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord

# What a cursor of ours may name; others would be too much for Prefect's database.
_YEARS = range(1971, 2200)


class History:
    """Pages of tasks."""

    def __init__(self, lists: RunLists, store: JobStore, records: Records) -> None:
        self._lists = lists
        self._store = store
        self._records = records

    async def page(self, query: RunQuery, *, limit: int, cursor: str | None) -> TaskPage:
        """Return a page and the cursor of the next one.

        Raises:
            FaultError: REQUEST_INVALID for a cursor that is none; ORCHESTRATOR_UNAVAILABLE.
        """
        after = _position_of(cursor) if cursor is not None else None
        # One more than is shown tells whether there is a next page.
        runs = await self._lists.page(query, limit=limit + 1, after=after)
        shown = runs[:limit]
        records = await self._records_of([run for run in shown if _is_listed(run, query)])
        return TaskPage(
            tasks=tuple(self._line(record) for record in records),
            next_cursor=_cursor_of(shown, after) if len(runs) > limit else None,
        )

    async def _records_of(self, runs: Sequence[FlowRun]) -> list[TaskRecord]:
        """Return how runs stand, with at most one more question to Redis and one to Prefect for all of them."""
        mirrored: list[TaskRecord | None] = [None] * len(runs)
        with suppress(JobStoreError):
            mirrored = await self._store.read_many([str(run.id) for run in runs])
        pairs = list(zip(runs, mirrored, strict=True))
        left = await self._lists.left_records([run.id for run, known in pairs if _is_behind(known, run)])
        if left:
            # The next one who looks at this page finds them there.
            with suppress(JobStoreError):
                await self._store.fill([record for record in left.values() if record.status.is_final])
        now = datetime.now(UTC)
        return [_newest(run, known, left.get(run.id), now=now) for run, known in pairs]

    def _line(self, record: TaskRecord) -> TaskLine:
        result = record.result
        return TaskLine.of(record, output_url=self._records.url_of(result.output_key) if result else None)


def _is_behind(known: TaskRecord | None, run: FlowRun) -> bool:
    """Tell whether the mirror has nothing, or has not heard of an end that Prefect knows."""
    return known is None or (run.state is not None and run.state.is_final() and not known.status.is_final)


def _newest(run: FlowRun, known: TaskRecord | None, left: TaskRecord | None, *, now: datetime) -> TaskRecord:
    if known is not None and not _is_behind(known, run):
        return known
    return rebuilt(run, (), left or known, now=now)


def _is_listed(run: FlowRun, query: RunQuery) -> bool:
    """Tell whether a run is a task, and was created in the time that is asked for."""
    created = run.created
    if not isinstance(run.parameters.get("request"), dict):
        return False
    if created is None:
        return True
    is_late_enough = query.created_after is None or created >= query.created_after
    return is_late_enough and (query.created_before is None or created < query.created_before)


def _cursor_of(shown: Sequence[FlowRun], before: Position | None) -> str:
    last = shown[-1].expected_start_time or datetime.now(UTC)
    same = tuple(run.id for run in shown if run.expected_start_time == last)
    # A page may end amid runs of one moment, and begin and end in the same one.
    earlier = before.shown if before is not None and before.time == last else ()
    position = Position(time=last, shown=(*earlier, *same))
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).rstrip(b"=").decode()


def _position_of(cursor: str) -> Position:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = Position.model_validate_json(text)
    except (binascii.Error, ValueError, ValidationError) as error:
        raise FaultError(FaultCode.REQUEST_INVALID, "cursor: it is none of this list.", field="cursor") from error
    if position.time.tzinfo is None or position.time.year not in _YEARS:
        raise FaultError(FaultCode.REQUEST_INVALID, "cursor: it is none of this list.", field="cursor")
    return position
