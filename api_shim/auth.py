"""The door for callers: who is known, what a key may do, how often; all before a body is read."""

from collections.abc import Iterable
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api_shim import api_keys
from api_shim.callers import Caller
from api_shim.errors import fault_response, responses
from gpu_tasks.contract.faults import FaultCode, FaultError

# Probes and readers of the documentation have no secret, and RunPod's calls bring one in their path; none of these
# tells anything about tasks.
OPEN_PATHS = frozenset({"/health", "/health/ready", "/openapi.json", "/docs"})
HOOKS: Final = "/hooks/runpod/"
_OPEN_PREFIXES = ("/docs/", HOOKS)
_READS = frozenset({"GET", "HEAD"})

# By the first part of a path; what is missing here is the operator's alone.
_SCOPES: Final = MappingProxyType(
    {
        "run": api_keys.Scope.RUN,
        "cancel": api_keys.Scope.RUN,
        "status": api_keys.Scope.READ,
        "events": api_keys.Scope.READ,
        "storage": api_keys.Scope.STORAGE,
        "estimate": api_keys.Scope.LOOK,
        "faces": api_keys.Scope.LOOK,
        "preview": api_keys.Scope.LOOK,
        "verify": api_keys.Scope.LOOK,
    }
)

# Reading them is one thing, repeating or removing another.
_BY_METHOD: Final = frozenset({"tasks", "webhooks"})

_TOLD: Final = "FF_API_SECRET or an API key"
_SCHEMES: Final = MappingProxyType(
    {
        "HTTPBearer": {"type": "http", "scheme": "bearer", "description": _TOLD},
        "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": _TOLD},
    }
)


def guarded_router(tag: str, *, prefix: str = "", also: Iterable[HTTPStatus] = ()) -> APIRouter:
    """Return a router for callers who are known; the document says what they may be told at the door.

    Args:
        tag: The heading of its routes in the document.
        prefix: Of their paths.
        also: Statuses that each of its routes may answer besides those of the door.
    """
    at_the_door = (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        # Named in our form: FastAPI else names it in its own.
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return APIRouter(prefix=prefix, tags=[tag], responses=responses(*at_the_door, *also))


def add_security(app: FastAPI) -> None:
    """Tell in the OpenAPI document how to authorize: the middleware below does it, before a body is read.

    As dependencies of the routes, which is FastAPI's own way, the schemes would be worked out again for every request.
    """
    document = app.openapi

    def with_security() -> dict[str, Any]:
        told = document()
        told["components"]["securitySchemes"] = {name: dict(scheme) for name, scheme in _SCHEMES.items()}
        for path, operations in told["paths"].items():
            for operation in () if is_open(path) else operations.values():
                operation["security"] = [{name: []} for name in _SCHEMES]
        return told

    app.openapi = with_security  # type: ignore[method-assign]  # FastAPI's own way to change the document


def scope_of(method: str, path: str) -> api_keys.Scope:
    """Return what a key needs for a request."""
    part = path.split("/")[1] if path.startswith("/") else ""
    if part in {"tasks", "webhooks"}:
        return api_keys.Scope.READ if method in _READS else api_keys.Scope.RUN
    return _SCOPES.get(part, api_keys.Scope.ADMIN)


def is_open(path: str) -> bool:
    """Tell whether a path is for everybody."""
    return path in OPEN_PATHS or path.startswith(_OPEN_PREFIXES)


class RequireCaller:
    """ASGI middleware: finds out who calls (`scope["caller"]`), else answers 401, 403 or 429 with the body unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            try:
                scope["caller"] = await _admitted(scope)
            except FaultError as error:
                await fault_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _admitted(scope: Scope) -> Caller:
    services = scope["app"].state.services
    caller: Caller = await services.callers.identify(Headers(scope=scope))
    if caller.key is not None:
        needed = scope_of(scope["method"], scope["path"])
        if not caller.may(needed):
            raise FaultError(FaultCode.FORBIDDEN, f"It needs the scope {needed}.")
        await services.rates.take(caller.key)
    return caller
