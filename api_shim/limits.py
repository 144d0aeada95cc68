"""What holds for every request before any route sees it: a cap on the body, and headers for browsers."""

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
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


class SecurityHeaders:
    """ASGI middleware: adds `SECURITY_HEADERS` where a route has not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


class _BodyTooLargeError(Exception):
    """The body has passed the cap."""


class BodyLimit:
    """ASGI middleware: refuses a body larger than the cap of its path, by its declared length or by counting bytes."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_bytes_by_path: Mapping[str, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._by_path = max_bytes_by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cap = self._by_path.get(scope["path"], self._max_bytes)
        refusal = error_response(FaultError(FaultCode.PAYLOAD_TOO_LARGE, f"The limit is {cap} bytes.").fault)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > cap:
            await refusal(scope, receive, send)
            return

        received = 0
        is_over = False
        has_answered = False

        async def receive_counted() -> Message:
            nonlocal received, is_over
            message = await receive()
            received += len(message.get("body", b""))
            if received > cap:
                is_over = True
                raise _BodyTooLargeError
            return message

        async def send_unless_over(message: Message) -> None:
            nonlocal has_answered
            # FastAPI turns what is raised while it reads a body into an answer of its own: that one is dropped.
            if is_over and not has_answered:
                return
            has_answered = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_unless_over)
        except _BodyTooLargeError:
            if has_answered:
                raise
        if is_over and not has_answered:
            await refusal(scope, receive, send)
