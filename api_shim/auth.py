"""The shared secret of the original service: who does not know it gets nothing but health and documentation."""

import hmac

from fastapi import Depends
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api_shim.errors import error_response
from gpu_tasks.contract.faults import FaultCode, FaultError

# Probes and readers of the documentation have no secret; neither tells anything about tasks.
# RunPod proves itself by the token in the path, which the route compares.
HOOKS = "/hooks/runpod/"
OPEN_PATHS = frozenset({"/health", "/health/ready", "/openapi.json"})
_OPEN_PREFIX = "/docs"

# Only tell the OpenAPI document how to authorize: the middleware below does it, before a body is read.
documented = (
    Depends(HTTPBearer(auto_error=False, description="FF_API_SECRET")),
    Depends(APIKeyHeader(name="X-Api-Key", auto_error=False, description="FF_API_SECRET")),
)


class RequireSecret:
    """ASGI middleware: `Authorization: Bearer SECRET` or `X-Api-Key: SECRET`, else 401 with the body unread."""

    def __init__(self, app: ASGIApp, *, secret: SecretStr | None) -> None:
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_allowed(scope):
            await error_response(FaultError(FaultCode.UNAUTHORIZED).fault)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        path = scope["path"]
        if (
            self._secret is None
            or path in OPEN_PATHS
            or path == _OPEN_PREFIX
            or path.startswith((f"{_OPEN_PREFIX}/", HOOKS))
        ):
            return True
        headers = Headers(scope=scope)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        told = bearer.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(told.encode(), self._secret.get_secret_value().encode())
