"""JSON bodies read strictly: no value is coerced, and nothing passes that cannot be stored."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, NoReturn, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from gpu_tasks.contract.faults import FaultCode, FaultError

Model = TypeVar("Model", bound=BaseModel)
# What stands in place of a field when all of a body is meant.
_BODY = "body"
_MOST_OF_A_PATH = 200


def strictly(kind: type[BaseModel]) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses what FastAPI's own lax reading would let pass ("yes" for true, NaN)."""

    async def check(request: Request) -> None:
        body = await request.body()
        _read(body)
        parsed(body, kind)

    return check


def parsed(body: bytes, kind: type[Model]) -> Model:
    """Return a body as `kind`; no value is coerced.

    Raises:
        RequestValidationError: It is none.
    """
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        # Told apart from one that is our own making, which is no fault of the caller.
        raise RequestValidationError(error.errors()) from error


async def changes(request: Request) -> dict[str, Any]:
    """Return a body that is a JSON object of fields, to be checked together with those it does not name.

    Raises:
        FaultError: REQUEST_INVALID.
    """
    body = await request.body()
    value = _read(body) if body else {}
    if not isinstance(value, dict):
        raise FaultError(FaultCode.REQUEST_INVALID, "The body is an object with the changed fields.", field=_BODY)
    return value


def _read(body: bytes) -> Any:  # noqa: ANN401  # any JSON
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FaultError(FaultCode.REQUEST_INVALID, "The body is not JSON.", field=_BODY) from error
    _check_storable(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


class _Place(NamedTuple):
    """Where a part stands. Each names only its last step: whole paths would cost a long name for each below it."""

    above: "_Place | None"
    step: str | int


def _check_storable(value: Any) -> None:  # noqa: ANN401  # any JSON
    """Raise when a text holds NUL or half a surrogate pair: neither Postgres nor UTF-8 can store it."""
    pending: list[tuple[_Place | None, Any]] = [(None, value)]
    while pending:
        place, part = pending.pop()
        if isinstance(part, dict):
            # Names first: what stands under a bad one is told of under its parent.
            pending.extend((_Place(place, name), inner) for name, inner in part.items())
            pending.extend((place, name) for name in part)
        elif isinstance(part, list):
            pending.extend((_Place(place, number), inner) for number, inner in enumerate(part))
        elif isinstance(part, str) and ("\0" in part or any("\ud800" <= letter <= "\udfff" for letter in part)):
            field = _path(place)[:_MOST_OF_A_PATH] or _BODY
            detail = f"{field}: a text holds a character that cannot be stored."
            raise FaultError(FaultCode.REQUEST_INVALID, detail, field=field)


def _path(place: _Place | None) -> str:
    steps = []
    while place is not None:
        steps.append(str(place.step))
        place = place.above
    return ".".join(reversed(steps)).lstrip(".")
