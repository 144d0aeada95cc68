"""What all three APIs share: the key, the endpoint in the path, typed bodies and typed answers."""

import hmac
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ValidationError

from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.messages import BadRequest, NotFound, Refusal, Refused, WrongKey

Body = TypeVar("Body", bound=BaseModel)


def answer(model: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """The model as JSON, without the fields that are None."""
    body = model.model_dump_json(exclude_none=True)
    return web.Response(text=body, content_type="application/json", status=status)


def endpoint_of(request: web.Request, endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """The endpoint the path names; raises NotFound."""
    try:
        return endpoints[request.match_info["endpoint"]]
    except KeyError:
        raise NotFound("no such endpoint") from None


async def body_of(request: web.Request, model: type[Body], *, at_most_bytes: int) -> Body:
    """The body as `model`, whatever content type is declared: the SDK calls its JSON a form.

    Raises:
        BadRequest: larger than `at_most_bytes`, no JSON, or not what the model asks for.
    """
    # What the cloud answers to too large a body is not documented; 400 is among the codes that are.
    too_large = BadRequest(f"the body is larger than {at_most_bytes} bytes")
    if (request.content_length or 0) > at_most_bytes:
        raise too_large
    raw = await request.read()
    if len(raw) > at_most_bytes:
        raise too_large
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadRequest(f"{where}: {first['msg']}") from error


def whole_number(request: web.Request, name: str, default: int) -> int:
    """The query parameter, or `default` without it; raises BadRequest for anything but digits."""
    text = request.query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise BadRequest(f"{name} is not a whole number")
    return int(text)


def key_required(api_key: str) -> Middleware:
    """Middleware: refuse a wrong key, and turn every refusal into its status and one sentence."""
    expected = api_key.encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Clients send "Bearer KEY", the documentation's curl and the worker SDK the bare key.
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip().encode()
        try:
            if not hmac.compare_digest(given, expected):
                raise WrongKey("the API key is missing or wrong")
            return await handler(request)
        except Refusal as refusal:
            return answer(Refused(error=str(refusal)), refusal.status)
        except web.HTTPException as problem:
            body = json.dumps({"error": problem.reason})
            return web.Response(text=body, content_type="application/json", status=problem.status)

    return check
