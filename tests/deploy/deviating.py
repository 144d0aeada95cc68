"""A service before a real control plane that behaves otherwise in three points, each in its own operation."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final

from aiohttp import ClientSession, ClientTimeout, web

_LARGEST_BYTES: Final = 64 * 1024 * 1024
_SECONDS: Final = 60.0
# What the contract suite has to tell: the lines that look at the three points, and no others.
DEVIATIONS: Final = {
    "a queued job is cancelled and never starts",
    "a running job is cancelled at once for its client",
    "a purge empties the queue and spares what runs",
    "the bare key is accepted as well",
}


class _Deviating:
    def __init__(self, plane_url: str, key: str) -> None:
        self._plane_url, self._key = plane_url, key

    async def answer(self, request: web.Request) -> web.Response:
        # One point: nothing but a bearer token is a key.
        if request.headers.get("Authorization") == self._key:
            return web.json_response({"error": "unauthorized"}, status=401)
        timeout = ClientTimeout(total=_SECONDS)
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with (
            ClientSession(timeout=timeout) as plane,
            plane.request(
                request.method, f"{self._plane_url}{request.rel_url}", data=BytesIO(await request.read()), headers=kept
            ) as told,
        ):
            body, status = await told.read(), told.status
        operation = request.path.split("/")[3] if request.path.count("/") > 2 else ""  # /v2/ID/operation
        if operation == "cancel":
            body = body.replace(b"CANCELLED", b"CANCELLING")
        if operation == "purge-queue":
            body = body.replace(b"removed", b"purged")
        return web.Response(body=body, status=status, content_type=told.content_type)


@contextmanager
def deviating(plane_url: str, key: str) -> Iterator[str]:
    """Run it in a thread of its own; yields its address."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    addresses: list[str] = []
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=_LARGEST_BYTES)
        app.router.add_route("*", "/{path:.*}", _Deviating(plane_url, key).answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        addresses.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(60), "the deviating service did not start"
    try:
        yield addresses[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
