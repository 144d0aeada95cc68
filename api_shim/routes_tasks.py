"""Tasks that were: lists of them, running one again with changes, deleting one."""

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BeforeValidator

from api_shim.auth import guarded_router
from api_shim.bodies import changes
from api_shim.callers import Called
from api_shim.errors import BODY_STATUSES, responses
from api_shim.idempotency import Idempotency
from api_shim.owners import OwnTask
from api_shim.routes_runs import IdempotencyKey
from api_shim.run_lists import RunQuery
from api_shim.services import Provided
from api_shim.starting import changed, declared_before, start
from api_shim.wire import Deleted, RunBody, RunSummary, TaskPage
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import Status

_DATE = re.compile(r"\d{4}-\d\d-\d\d")

router = guarded_router("tasks", prefix="/tasks")

_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

Cursor = Annotated[str | None, Query(max_length=4096, description="`next_cursor` of the page before.")]
Statuses = Annotated[list[Status] | None, Query(alias="status", max_length=5, description="One or more.")]
Labels = Annotated[
    list[str] | None, Query(alias="label", max_length=16, description="`name:value`; all that are given must fit.")
]


def _is_written_out(told: object) -> object:
    # A bare number would be taken for seconds since 1970.
    if isinstance(told, str) and not _DATE.match(told):
        raise ValueError("it has the form 2026-01-02T03:04:05Z")
    return told


Moment = Annotated[
    datetime | None, BeforeValidator(_is_written_out), Query(description="A time with its zone: 2026-01-02T03:04:05Z.")
]


@router.get("")
async def tasks(  # noqa: PLR0913  # each is a part of the query
    services: Provided,
    caller: Called,
    *,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    cursor: Cursor = None,
    statuses: Statuses = None,
    labels: Labels = None,
    created_after: Moment = None,
    created_before: Moment = None,
) -> TaskPage:
    """List tasks, newest first. A key sees its own."""
    query = RunQuery(
        owner=None if caller.sees_all else caller.key_id,
        statuses=tuple(statuses or ()),
        labels=tuple(_label(text) for text in labels or ()),
        created_after=_utc(created_after, "created_after"),
        created_before=_utc(created_before, "created_before"),
    )
    return await services.history.page(query, limit=limit, cursor=cursor)


@router.post(
    "/{task_id}/rerun",
    status_code=HTTPStatus.ACCEPTED,
    responses=responses(*BODY_STATUSES, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    openapi_extra={
        "requestBody": {
            "description": "Fields of `POST /run` that are to be others; the rest is as it was.",
            "content": {"application/json": {"schema": {"type": "object"}, "example": {"sync_mode": "bounce"}}},
        }
    },
)
async def rerun(
    services: Provided,
    caller: Called,
    task_id: OwnTask,
    asked: Annotated[dict[str, Any], Depends(changes)],
    idempotency_key: IdempotencyKey = None,
) -> RunSummary:
    """Start a new task from an earlier one. Stages whose inputs are the same are not paid for again."""
    run = await services.runs.find(task_id)
    body: RunBody = changed(run.parameters["request"], asked)
    declared = declared_before(run.parameters, body)
    if idempotency_key is None:
        return RunSummary.of(await start(services, body, caller, None, declared=declared))
    told = {"rerun": task_id, **body.model_dump(mode="json")}
    idempotency = Idempotency(idempotency_key, told, caller.key_id)
    async with services.claims.answering(idempotency, seconds=0.0) as answering:
        record = await start(services, body, caller, idempotency, declared=declared)
        await answering.name(record.task_id)
    return RunSummary.of(record)


@router.delete("/{task_id}", responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
async def delete(services: Provided, caller: Called, task_id: OwnTask) -> Deleted:
    """Delete a task that has ended: its record, its outputs, and the uploads that no other task refers to."""
    return await services.deletion.delete(task_id, caller)


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not name or not colon:
        raise FaultError(FaultCode.REQUEST_INVALID, "label: it has the form name:value.", field="label")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise FaultError(FaultCode.REQUEST_INVALID, "label: it holds what no label can.", field="label")
    return name, value


def _utc(time: datetime | None, field: str) -> datetime | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise FaultError(FaultCode.REQUEST_INVALID, f"{field}: say in which time zone, as in ...Z.", field=field)
    # No task is older or younger; beyond, arithmetic with times ends.
    return min(max(time, _EARLIEST), _LATEST)
