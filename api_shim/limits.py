"""What holds for every request before any route sees it: a cap on the body, and headers for browsers."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_shim.errors import error_response
from gpu_tasks.contract.faults import FaultCode, FaultError

SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    # Answers hold signed URLs: no cache on the way keeps them.
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# As they go over the wire; every answer gets them.
_RAW_HEADERS: Final = tuple((name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items())

# A bad mobile line; whoever sends more slowly than that for long holds a connection for nothing.
_SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024


class SecurityHeaders:
    """ASGI middleware: adds `SECURITY_HEADERS` where a route has not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                own = {name for name, _ in headers}
                message["headers"] = headers + [header for header in _RAW_HEADERS if header[0] not in own]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _BodyRefusedError(Exception):
    """The body has passed the cap, or comes too slowly; `answer` says so."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


class _Allowance:
    """How much of one body has come, and when the next of it is due.

    A body has `body_seconds` to come whole, and as much longer as its bytes take at the slowest rate that is served.
    """

    def __init__(self, cap: int, body_seconds: float) -> None:
        self._cap = cap
        self._received = 0
        self._due = time.monotonic() + body_seconds
        self._is_whole = False

    async def next(self, receive: Receive) -> Message:
        """Return the next message; raises _BodyRefusedError."""
        if self._is_whole:
            # What comes now is the end of the connection, for which a waiting answer may listen for an hour.
            return await receive()
        try:
            async with asyncio.timeout(self._due - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise _BodyRefusedError(error_response(FaultError(FaultCode.REQUEST_TOO_SLOW).fault)) from None
        size = len(message.get("body", b""))
        self._received += size
        self._due += size / _SLOWEST_BYTES_PER_SECOND
        if self._received > self._cap:
            raise _BodyRefusedError(_too_large(self._cap))
        self._is_whole = not message.get("more_body", False)
        return message


class BodyLimit:
    """ASGI middleware: refuses a body that is larger than the cap of its path, or that comes too slowly.

    Args:
        app: What is behind it.
        max_bytes: The cap, by declared length or by counting bytes.
        max_bytes_by_path: Other caps.
        body_seconds: How long a small body may take.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, max_bytes_by_path: Mapping[str, int], body_seconds: float
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._by_path = max_bytes_by_path
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        declared = headers.get("content-length", "")
        if not declared and "transfer-encoding" not in headers:
            # There is no body.
            await self._app(scope, receive, send)
            return
        cap = self._by_path.get(scope["path"], self._max_bytes)
        if declared.isdecimal() and int(declared) > cap:
            await _too_large(cap)(scope, receive, send)
            return

        allowance = _Allowance(cap, self._body_seconds)
        refusal: Response | None = None
        has_answered = False

        async def receive_counted() -> Message:
            nonlocal refusal
            try:
                return await allowance.next(receive)
            except _BodyRefusedError as error:
                refusal = error.answer
                raise

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_answered
            # FastAPI turns what is raised while it reads a body into an answer of its own: that one is dropped.
            if refusal is not None and not has_answered:
                return
            has_answered = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_unless_refused)
        except _BodyRefusedError:
            if has_answered:
                raise
        if refusal is not None and not has_answered:
            await refusal(scope, receive, send)


def _too_large(cap: int) -> Response:
    return error_response(FaultError(FaultCode.PAYLOAD_TOO_LARGE, f"The limit is {cap} bytes.").fault)
