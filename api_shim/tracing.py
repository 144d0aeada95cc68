"""A span for every request, below the one that the caller names."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gpu_tasks import tracing


class Traced:
    """ASGI middleware; only there where traces are collected."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = Headers(scope=scope).get("traceparent")
        # The first part of the path only: what follows may be a token.
        name = f"{scope['method']} /{scope['path'].split('/')[1]}"
        with tracing.span(name, parent=parent):
            await self._app(scope, receive, send)
