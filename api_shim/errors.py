"""Every error the shim answers with: one table from fault codes to HTTP status, one body for all of them.

The body is `{error, detail, stage, retryable}`, the same object that stands under `error` in a failed record, with
`field` where one field of the request is wrong and `task_id` where a task is meant.
"""

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api_shim.wire import ErrorAnswer
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.records import ErrorRecord

_logger = logging.getLogger(__name__)

# Codes of a job stand here too: a fault means the same wherever it is told.
STATUSES: dict[FaultCode, HTTPStatus] = {
    FaultCode.RUNPOD_SUBMIT_FAILED: HTTPStatus.BAD_GATEWAY,
    FaultCode.RUNPOD_STATUS_FAILED: HTTPStatus.BAD_GATEWAY,
    FaultCode.RUNPOD_JOB_FAILED: HTTPStatus.BAD_GATEWAY,
    FaultCode.RUNPOD_JOB_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    FaultCode.NO_FACE_DETECTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.AUDIO_MERGE_FAILED: HTTPStatus.BAD_GATEWAY,
    FaultCode.MISSING_AUDIO_KEY: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.FACEFUSION_NOT_CONFIGURED: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.REQUEST_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.CONSENT_REQUIRED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.KEY_NOT_ALLOWED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.OPTION_UNSUPPORTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    # Not 404: the address is right, the request names an object that is not there.
    FaultCode.OBJECT_MISSING: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.OBJECT_EMPTY: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.OBJECT_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    FaultCode.OBJECT_CORRUPT: HTTPStatus.BAD_GATEWAY,
    FaultCode.OBJECT_CHANGED: HTTPStatus.CONFLICT,
    FaultCode.OUTPUT_EXISTS: HTTPStatus.CONFLICT,
    FaultCode.MEDIA_UNREADABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.MEDIA_UNSUPPORTED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.MEDIA_TOO_LONG: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.MEDIA_TOO_COSTLY: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.PICTURE_TOO_LARGE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.NO_VIDEO_STREAM: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.NO_AUDIO_STREAM: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.NO_FACE_IN_SOURCE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.NO_FACE_IN_REFERENCE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.SEVERAL_FACES_IN_REFERENCE: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.RUNPOD_NOT_CONFIGURED: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_KEY_REFUSED: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_ENDPOINT_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_THROTTLED: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_NO_WORKERS: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_NO_CAPACITY: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_WORKERS_CRASH: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.RUNPOD_JOB_EXPIRED: HTTPStatus.BAD_GATEWAY,
    FaultCode.BUDGET_EXCEEDED: HTTPStatus.TOO_MANY_REQUESTS,
    FaultCode.PRICE_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.ENGINE_UNAVAILABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    # At the door it is a set-up that lacks something, as an endpoint that nobody named.
    FaultCode.MODEL_MISSING: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.MODEL_CORRUPT: HTTPStatus.BAD_GATEWAY,
    FaultCode.MODEL_NOT_FETCHED: HTTPStatus.BAD_GATEWAY,
    FaultCode.LICENCE_NOT_ACKNOWLEDGED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.REVISION_MISMATCH: HTTPStatus.BAD_GATEWAY,
    FaultCode.CONTRACT_MISMATCH: HTTPStatus.BAD_GATEWAY,
    FaultCode.RESULT_MISSING: HTTPStatus.BAD_GATEWAY,
    FaultCode.SUPERSEDED: HTTPStatus.CONFLICT,
    FaultCode.OUT_OF_MEMORY: HTTPStatus.BAD_GATEWAY,
    FaultCode.DISK_FULL: HTTPStatus.BAD_GATEWAY,
    FaultCode.STORAGE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.STORAGE_REFUSED: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.ORCHESTRATOR_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.ORCHESTRATOR_LOST: HTTPStatus.BAD_GATEWAY,
    FaultCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
    FaultCode.CONTENT_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.CANCELLED: HTTPStatus.CONFLICT,
    FaultCode.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    FaultCode.FORBIDDEN: HTTPStatus.FORBIDDEN,
    FaultCode.RATE_LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    FaultCode.QUOTA_EXCEEDED: HTTPStatus.TOO_MANY_REQUESTS,
    FaultCode.TOO_MANY_LISTENERS: HTTPStatus.SERVICE_UNAVAILABLE,
    FaultCode.IDEMPOTENCY_IN_FLIGHT: HTTPStatus.CONFLICT,
    FaultCode.TASK_UNKNOWN: HTTPStatus.NOT_FOUND,
    FaultCode.TASK_NOT_ENDED: HTTPStatus.CONFLICT,
    FaultCode.UPLOAD_UNKNOWN: HTTPStatus.NOT_FOUND,
    FaultCode.UPLOAD_INCOMPLETE: HTTPStatus.CONFLICT,
    FaultCode.ROUTE_UNKNOWN: HTTPStatus.NOT_FOUND,
    FaultCode.WEBHOOK_REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    FaultCode.WEBHOOK_FAILED: HTTPStatus.BAD_GATEWAY,
    FaultCode.DELIVERY_UNKNOWN: HTTPStatus.NOT_FOUND,
    FaultCode.PAYLOAD_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    FaultCode.REQUEST_TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    FaultCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
}

# Of routes that read a body.
BODY_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_RETRY_AFTER_SECONDS = 5
_COME_AGAIN = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})
_MAX_NAMED_FIELDS = 8
# What stands in place of a field when all of a body is meant.
_BODY = "body"


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """What a route declares in the OpenAPI document about its errors."""
    return {int(status): {"model": ErrorAnswer, "description": status.phrase} for status in statuses}


def error_response(
    fault: Fault,
    *,
    status: int | None = None,
    named: Mapping[str, str | None] = MappingProxyType({}),
    headers: Mapping[str, str] = MappingProxyType({}),
) -> JSONResponse:
    """Return the answer that tells `fault`.

    Args:
        fault: What happened.
        status: Only where HTTP knows better than the table (405).
        named: `field` or `task_id`, where the answer names one.
        headers: Besides those that belong to the status.
    """
    told = status or STATUSES[fault.code]
    body = ErrorRecord(error=fault.code, detail=fault.detail, stage=fault.stage, retryable=fault.is_retryable)
    known = {name: value for name, value in named.items() if value is not None}
    answer = JSONResponse({**body.model_dump(mode="json"), **known}, status_code=told, headers=dict(headers))
    if told in _COME_AGAIN and fault.is_retryable:
        answer.headers.setdefault("Retry-After", str(_RETRY_AFTER_SECONDS))
    if told == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


class AnswerError(FaultError):
    """A fault whose answer says more than its sentence.

    Args:
        code: What happened.
        detail: The particulars.
        task_id: The task that the caller should look at.
        retry_after_seconds: When it is worth asking again.
    """

    def __init__(
        self, code: FaultCode, detail: str = "", *, task_id: str | None = None, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.task_id = task_id
        self.retry_after_seconds = retry_after_seconds


def add_error_handlers(app: FastAPI) -> None:
    """Let every error leave as the one body; nothing of a traceback reaches a client."""
    app.add_exception_handler(FaultError, _on_fault)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_fault(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FaultError)  # noqa: S101  # Starlette's type of a handler is wider than what it is called with
    return fault_response(error)


def fault_response(error: FaultError) -> JSONResponse:
    """Return the answer to an error, with all that it knows."""
    headers = {}
    task_id = error.task_id if isinstance(error, AnswerError) else None
    if task_id is not None:
        headers["Location"] = f"/status/{task_id}"
    if isinstance(error, AnswerError) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return error_response(error.fault, named={"field": error.field, "task_id": task_id}, headers=headers)


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # the same
    errors = list(error.errors())
    fault = FaultError(FaultCode.REQUEST_INVALID, named_fields(errors)).fault
    return error_response(fault, named={"field": _field(errors[0]) if errors else None})


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # the same
    if error.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        fault = FaultError(FaultCode.ROUTE_UNKNOWN, f"Asked: {request.method} {request.url.path[:200]}.").fault
        answer = error_response(fault, status=error.status_code)
        answer.headers.update(error.headers or {})
        return answer
    # What is left comes from reading a body: broken JSON, a broken form.
    return error_response(
        FaultError(FaultCode.REQUEST_INVALID, "The body could not be read.").fault, named={"field": _BODY}
    )


async def _on_unexpected(request: Request, error: Exception) -> JSONResponse:
    _logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(FaultError(FaultCode.INTERNAL).fault)


def named_fields(errors: Iterable[Mapping[str, Any]]) -> str:
    """Say which fields are wrong and why, without repeating what the caller sent."""
    listed = list(errors)
    sentences = [f"{_field(error)}: {_reason(error)}" for error in listed[:_MAX_NAMED_FIELDS]]
    if len(listed) > _MAX_NAMED_FIELDS:
        sentences.append(f"and {len(listed) - _MAX_NAMED_FIELDS} more")
    return "; ".join(sentences) + "."


def _field(error: Mapping[str, Any]) -> str:
    # Of what is no JSON the place is a number of letters.
    parts = [str(part) for part in error["loc"]] if error["type"] != "json_invalid" else []
    if parts[:1] in (["body"], ["query"], ["path"], ["header"]) and len(parts) > 1:
        parts = parts[1:]
    return ".".join(parts)[:200] or _BODY


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    return str(error["msg"]).removeprefix("Value error, ").rstrip(".")
