"""Runs: start one, ask how it stands, end it."""

import asyncio
from collections.abc import Coroutine
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api_shim.auth import guarded_router
from api_shim.bodies import strictly
from api_shim.callers import Called, caller_of
from api_shim.errors import BODY_STATUSES, responses
from api_shim.idempotency import Idempotency
from api_shim.owners import OwnTask
from api_shim.services import Provided, Services, services_of
from api_shim.starting import start
from api_shim.wire import RunBody, RunSummary
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord

router = guarded_router("runs")
Found = TypeVar("Found")
# Nobody hears it; the number is the one nginx uses in its logs.
_CLIENT_CLOSED_REQUEST = 499

Wait = Annotated[bool, Query(description="Answer when the task has ended, with its full record.")]
Timeout = Annotated[
    float | None, Query(gt=0, le=86400, allow_inf_nan=False, description="Seconds to wait, then 504 with the record.")
]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, description="Requests with one key make one task, for 24 hours.")
]
_SO_FAR: dict[int | str, dict[str, Any]] = {
    504: {"model": TaskRecord, "description": "Not ended yet: the record so far"}
}


@router.post(
    "/run",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RunSummary,
    responses={
        200: {"model": TaskRecord, "description": "With `wait`: the final record"},
        **responses(*BODY_STATUSES, HTTPStatus.CONFLICT),
        **_SO_FAR,
    },
    dependencies=[Depends(strictly(RunBody))],
)
async def run(  # noqa: PLR0913  # each is a part of the HTTP request
    http: Request,
    services: Provided,
    caller: Called,
    body: RunBody,
    idempotency_key: IdempotencyKey = None,
    *,
    wait: Wait = False,
    timeout: Timeout = None,  # noqa: ASYNC109  # the original service's name of the parameter
) -> Response:
    """Start a task: everything that can be known is checked before a run exists."""
    if idempotency_key is None:
        record = await start(services, body, caller, None)
        return await _told(http, services, record, wait=wait, timeout=timeout)
    idempotency = Idempotency(idempotency_key, body.model_dump(mode="json"), caller.key_id)
    limit = services.settings.max_wait_seconds
    async with services.claims.answering(idempotency, seconds=min(timeout or limit, limit) if wait else 0.0) as first:
        record = await start(services, body, caller, idempotency)
        await first.name(record.task_id)
        return await _told(http, services, record, wait=wait, timeout=timeout)


@router.get(
    "/status/{task_id}",
    response_model=TaskRecord,
    responses={**responses(HTTPStatus.NOT_FOUND), **_SO_FAR},
)
async def status(
    http: Request,
    task_id: OwnTask,
    *,
    wait: Wait = False,
    timeout: Timeout = None,  # noqa: ASYNC109  # the original service's name of the parameter
) -> Response:
    """Return the full record of a task."""
    # Asked more often than all others together: not one dependency more than it needs.
    services = await services_of(http)
    if wait:
        return await _waited(http, services, task_id, timeout)
    return Response(await services.records.answer(task_id), media_type="application/json")


@router.post(
    "/cancel/{task_id}",
    status_code=HTTPStatus.ACCEPTED,
    response_model=RunSummary,
    responses=responses(HTTPStatus.NOT_FOUND),
)
async def cancel(services: Provided, task_id: OwnTask) -> Response:
    """End a task: its GPU jobs are cancelled; one that has ended already stays as it is."""
    cancelled = await services.runs.cancel(task_id)
    is_final = cancelled.state is not None and cancelled.state.is_final()
    record = await (services.records.rebuild(task_id) if is_final else services.records.read(task_id))
    return _answer(RunSummary.of(record), HTTPStatus.ACCEPTED)


async def _told(
    http: Request,
    services: Services,
    record: TaskRecord,
    *,
    wait: bool,
    timeout: float | None,  # noqa: ASYNC109  # the original service's name of the parameter
) -> Response:
    if not wait:
        return _answer(RunSummary.of(record), HTTPStatus.ACCEPTED)
    return await _waited(http, services, record.task_id, timeout)


async def _waited(http: Request, services: Services, task_id: str, seconds: float | None) -> Response:
    limit = services.settings.max_wait_seconds
    waiting = services.watching.end_of(task_id, seconds=min(seconds or limit, limit))
    caller = await caller_of(http)
    with services.callers.staying(caller) as is_over:
        record = await _while_welcome(http, is_over, waiting)
    if services.callers.is_revoked(caller):
        raise FaultError(FaultCode.UNAUTHORIZED)
    if record is None:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)
    told = HTTPStatus.OK if record.status.is_final else HTTPStatus.GATEWAY_TIMEOUT
    return _answer(services.records.for_reader(record), told)


async def _while_welcome(http: Request, is_over: asyncio.Event, work: Coroutine[Any, Any, Found]) -> Found | None:
    """Return what `work` returns, None when the caller hung up, or its key was revoked, before."""
    working = asyncio.create_task(work)
    others = (asyncio.create_task(_disconnected(http)), asyncio.create_task(is_over.wait()))
    try:
        await asyncio.wait((working, *others), return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, *others):
            task.cancel()


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def _answer(model: BaseModel, status_code: HTTPStatus) -> Response:
    return Response(model.model_dump_json(), status_code=status_code, media_type="application/json")
