"""The API's calls as plain values, and what their answers mean: the part that both clients share.

ClientError(FaultError)
├── ApiError            the service answered with an error
├── ApiUnreachableError the service did not answer
└── NotEndedError       the task has not ended in the time given; holds the record so far
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import PurePath
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api_shim.wire import (
    Deleted,
    DeliveryAnswer,
    DeliveryList,
    ErrorAnswer,
    FacesAnswer,
    PartsAnswer,
    PartsRequest,
    PresignAnswer,
    PresignRequest,
    PreviewAnswer,
    Readiness,
    RunSummary,
    TaskPage,
    UploadAnswer,
    UploadBegin,
    UploadBegun,
    UploadComplete,
)
from flows.request import PipelineRequest, PreviewKind
from gpu_tasks.contract.credentials import Verdict
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.records import Status, TaskRecord

Model = TypeVar("Model", bound=BaseModel)

# The service answers a wait by itself when its time is over; the connection is kept a little longer.
_ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 30.0
UPLOAD_SECONDS = 600.0
# A small flow reads the file before the answer comes: the service's two minutes, and a last look and its end.
LOOK_SECONDS = 150.0


class ClientError(FaultError):
    """What a call of the API can end with. `fault` says why, `is_retryable` whether trying again may help."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        # The sentence comes from the service and is not completed a second time.
        self.fault = fault

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.fault,))


class ApiError(ClientError):
    """The service answered with an error; `status` is its HTTP status."""

    def __init__(self, fault: Fault, *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(fault)
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_api_error, (self.fault, self.status, self.retry_after_seconds))


def _rebuild_api_error(fault: Fault, status: int, retry_after_seconds: float | None) -> ApiError:
    return ApiError(fault, status=status, retry_after_seconds=retry_after_seconds)


class ApiUnreachableError(ClientError):
    """There is no service at the address, or it does not answer."""


class NotEndedError(ClientError):
    """The task goes on; only the waiting has ended."""

    def __init__(self, fault: Fault, record: TaskRecord | None = None) -> None:
        super().__init__(fault)
        self.record = record

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.fault, self.record))


@dataclass(frozen=True)
class TaskQuery:
    """Which tasks are listed: those with one of the statuses and all of the labels, newest first."""

    limit: int = 20
    cursor: str | None = None
    statuses: tuple[Status, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    created_after: datetime | None = None
    created_before: datetime | None = None


class Nothing(BaseModel):
    """The answer of a call that only succeeds or fails."""


@dataclass(frozen=True)
class Call(Generic[Model]):
    """One HTTP request, and what is answered to it."""

    method: str
    path: str
    answer: type[Model]
    # Statuses besides the successful ones that come with the answer.
    answered_with: frozenset[HTTPStatus] = frozenset()
    params: Sequence[tuple[str, str]] = ()
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    files: Mapping[str, tuple[str, IO[bytes], str]] | None = None
    seconds: float = REQUEST_SECONDS

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments of httpx's `request`."""
        return {
            "params": list(self.params),
            "json": self.json,
            "headers": dict(self.headers),
            "data": self.form,
            "files": self.files,
            "timeout": httpx.Timeout(self.seconds, connect=CONNECT_SECONDS),
        }


def run_call(request: PipelineRequest, idempotency_key: str | None) -> Call[RunSummary]:
    """POST /run."""
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    return Call("POST", "/run", RunSummary, json=_body_of(request), headers=headers)


def status_call(task_id: str, wait_seconds: float | None) -> Call[TaskRecord]:
    """GET /status/{task_id}; with `wait_seconds` the answer comes when the task ends, at the latest then."""
    if wait_seconds is None:
        return Call("GET", f"/status/{_quoted(task_id)}", TaskRecord)
    params = ("wait", "true"), ("timeout", f"{wait_seconds:.3f}")
    return Call(
        "GET",
        f"/status/{_quoted(task_id)}",
        TaskRecord,
        # The record so far.
        answered_with=frozenset({HTTPStatus.GATEWAY_TIMEOUT}),
        params=params,
        seconds=wait_seconds + _ANSWER_SECONDS,
    )


def cancel_call(task_id: str) -> Call[RunSummary]:
    """POST /cancel/{task_id}."""
    return Call("POST", f"/cancel/{_quoted(task_id)}", RunSummary)


def upload_call(stream: IO[bytes], *, filename: str, prefix: str, content_type: str) -> Call[UploadAnswer]:
    """POST /storage/upload."""
    name = PurePath(filename).name
    return Call(
        "POST",
        "/storage/upload",
        UploadAnswer,
        form={"prefix": prefix, "filename": name},
        files={"file": (name, stream, content_type)},
        seconds=UPLOAD_SECONDS,
    )


def presign_call(asked: PresignRequest) -> Call[PresignAnswer]:
    """POST /storage/presign."""
    return Call("POST", "/storage/presign", PresignAnswer, json=asked.model_dump(mode="json", exclude_none=True))


def verify_call(key: str) -> Call[Verdict]:
    """POST /verify; a large file is fetched and read before the answer comes."""
    return Call("POST", "/verify", Verdict, json={"key": key}, seconds=LOOK_SECONDS)


def events_call(task_id: str, seen: int | None) -> Call[Nothing]:
    """GET /events/{task_id}; `seen` is the revision after which the stream goes on."""
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    return Call("GET", f"/events/{_quoted(task_id)}", Nothing, headers=headers)


def list_call(asked: TaskQuery) -> Call[TaskPage]:
    """GET /tasks."""
    times = {"created_after": asked.created_after, "created_before": asked.created_before}
    params = [("limit", str(asked.limit))]
    params += [("cursor", asked.cursor)] if asked.cursor else []
    params += [("status", status.value) for status in asked.statuses]
    params += [("label", f"{name}:{value}") for name, value in asked.labels.items()]
    params += [(name, moment.isoformat()) for name, moment in times.items() if moment is not None]
    return Call("GET", "/tasks", TaskPage, params=params)


def rerun_call(task_id: str, changes: Mapping[str, Any]) -> Call[RunSummary]:
    """POST /tasks/{task_id}/rerun."""
    return Call("POST", f"/tasks/{_quoted(task_id)}/rerun", RunSummary, json=dict(changes))


def delete_call(task_id: str) -> Call[Deleted]:
    """DELETE /tasks/{task_id}."""
    return Call("DELETE", f"/tasks/{_quoted(task_id)}", Deleted)


def faces_call(target_key: str, at_seconds: float | None) -> Call[FacesAnswer]:
    """POST /faces."""
    told = {} if at_seconds is None else {"at_seconds": at_seconds}
    return Call("POST", "/faces", FacesAnswer, json={"target_key": target_key, **told}, seconds=LOOK_SECONDS)


def estimate_call(request: PipelineRequest) -> Call[Estimate]:
    """POST /estimate."""
    return Call("POST", "/estimate", Estimate, json=_body_of(request), seconds=LOOK_SECONDS)


def preview_call(request: PipelineRequest, kind: PreviewKind, at_seconds: float) -> Call[PreviewAnswer]:
    """POST /preview."""
    body = {"request": _body_of(request), "kind": kind.value, "at_seconds": at_seconds}
    return Call("POST", "/preview", PreviewAnswer, json=body, seconds=LOOK_SECONDS)


def begin_upload_call(asked: UploadBegin) -> Call[UploadBegun]:
    """POST /storage/uploads."""
    return Call("POST", "/storage/uploads", UploadBegun, json=asked.model_dump(mode="json", exclude_none=True))


def upload_parts_call(upload_id: str, asked: PartsRequest) -> Call[PartsAnswer]:
    """POST /storage/uploads/{upload_id}/parts."""
    return Call("POST", f"/storage/uploads/{_quoted(upload_id)}/parts", PartsAnswer, json=asked.model_dump(mode="json"))


def complete_upload_call(upload_id: str, asked: UploadComplete) -> Call[UploadAnswer]:
    """POST /storage/uploads/{upload_id}/complete; what came is read again before the answer comes."""
    path = f"/storage/uploads/{_quoted(upload_id)}/complete"
    return Call("POST", path, UploadAnswer, json=asked.model_dump(mode="json"), seconds=UPLOAD_SECONDS)


def abandon_upload_call(upload_id: str) -> Call[Nothing]:
    """DELETE /storage/uploads/{upload_id}."""
    return Call("DELETE", f"/storage/uploads/{_quoted(upload_id)}", Nothing)


def deliveries_call(task_id: str) -> Call[DeliveryList]:
    """GET /webhooks/{task_id}."""
    return Call("GET", f"/webhooks/{_quoted(task_id)}", DeliveryList)


def replay_call(task_id: str, delivery_id: str) -> Call[DeliveryAnswer]:
    """POST /webhooks/{task_id}/{delivery_id}/replay."""
    return Call("POST", f"/webhooks/{_quoted(task_id)}/{_quoted(delivery_id)}/replay", DeliveryAnswer)


def ready_call() -> Call[Readiness]:
    """GET /health/ready; `unready` is an answer, too."""
    return Call("GET", "/health/ready", Readiness, answered_with=frozenset({HTTPStatus.SERVICE_UNAVAILABLE}))


def parsed(call: Call[Model], answer: httpx.Response) -> Model:
    """Return what a call was answered.

    Raises:
        ApiError: The service answered with an error, or with something else than this call's answer.
    """
    if answer.status_code not in call.answered_with:
        raise_for_error(answer)
    told = b"{}" if answer.status_code == HTTPStatus.NO_CONTENT else answer.content
    try:
        return call.answer.model_validate_json(told)
    except ValidationError as error:
        fault = Fault(code=FaultCode.INTERNAL, detail="The answer is none of this service; is the address right?")
        raise ApiError(fault, status=answer.status_code) from error


def ended(record: TaskRecord, seconds: float) -> TaskRecord:
    """Return a final record.

    Raises:
        NotEndedError: It is not final.
    """
    if record.status.is_final:
        return record
    fault = Fault(
        code=FaultCode.DEADLINE_EXCEEDED, detail=f"The task has not ended in {seconds:g} seconds; it goes on."
    )
    raise NotEndedError(fault, record)


def unreachable(base_url: str) -> ApiUnreachableError:
    """Return the error for an address where nothing answers."""
    detail = f"The service at {base_url} does not answer; is it started, and is the address right?"
    return ApiUnreachableError(Fault(code=FaultCode.ORCHESTRATOR_UNAVAILABLE, detail=detail))


def raise_for_error(answer: httpx.Response) -> None:
    """Raise ApiError when the answer is one."""
    if answer.is_success:
        return
    retry_after = answer.headers.get("retry-after", "")
    try:
        told = ErrorAnswer.model_validate_json(answer.content)
        fault = Fault(code=told.error, detail=told.detail, stage=told.stage)
    except ValidationError:
        # A proxy in between, or another service.
        fault = Fault(code=FaultCode.INTERNAL, detail=f"The service answered with status {answer.status_code}.")
    seconds = float(retry_after) if retry_after.isdecimal() else None
    raise ApiError(fault, status=answer.status_code, retry_after_seconds=seconds)


def _body_of(request: PipelineRequest) -> dict[str, Any]:
    """Return a request as JSON: what is at its default is left out, an older service may never have heard of it."""
    return request.model_dump(mode="json", exclude_defaults=True)


def _quoted(name: str) -> str:
    return quote(name, safe="")
