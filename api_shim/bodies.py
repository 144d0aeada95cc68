"""JSON bodies read strictly: no value is coerced, and nothing passes that cannot be stored."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from fastapi import Request
from pydantic import BaseModel

from gpu_tasks.contract.faults import FaultCode, FaultError


def strictly(kind: type[BaseModel]) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses what FastAPI's own lax reading would let pass ("yes" for true, NaN)."""

    async def check(request: Request) -> None:
        body = await request.body()
        _read(body)
        kind.model_validate_json(body, strict=True)

    return check


async def changes(request: Request) -> dict[str, Any]:
    """Return a body that is a JSON object of fields, to be checked together with those it does not name.

    Raises:
        FaultError: REQUEST_INVALID.
    """
    body = await request.body()
    value = _read(body) if body else {}
    if not isinstance(value, dict):
        raise FaultError(FaultCode.REQUEST_INVALID, "The body is an object with the changed fields.")
    return value


def _read(body: bytes) -> Any:  # noqa: ANN401  # any JSON
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FaultError(FaultCode.REQUEST_INVALID, "The body is not JSON.") from error
    _check_storable(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _check_storable(value: Any) -> None:  # noqa: ANN401  # any JSON
    """Raise when a text holds NUL or half a surrogate pair: neither Postgres nor UTF-8 can store it."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            pending.extend(part.keys())
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, str) and ("\0" in part or any("\ud800" <= letter <= "\udfff" for letter in part)):
            raise FaultError(FaultCode.REQUEST_INVALID, "A text in the body holds a character that cannot be stored.")
