"""Server-sent events: the newest record of a task to whoever listens, until its end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from api_shim.callers import EVERYBODY
from api_shim.services import Services
from api_shim.wire import RunSummary
from gpu_tasks.contract.records import TaskRecord

# How long a listener whose connection broke waits before it comes back.
_RETRY_MS: Final = 2000
_HEARTBEAT: Final = b": still here\n\n"
# Where a request keeps the stream that is its answer.
_STREAM: Final = "lipswap.stream"


class EventStream(Response):
    """The answer of `GET /events/{task_id}`. A slow listener gets fewer records, never an older one.

    It ends without its `end` when the task is deleted or the listener's key is revoked: who comes back is told why.

    Args:
        services: Where the task is watched, URLs are signed and keys are known.
        task_id: Of a task that exists.
        seen: The revision after which the listener goes on, -1 to begin with what is.
    """

    media_type = "text/event-stream"

    def __init__(self, services: Services, task_id: str, *, seen: int) -> None:
        # nginx would collect the events before it passes them on.
        super().__init__(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})
        # Its length is not known.
        del self.headers["Content-Length"]
        self._services = services
        self._task_id = task_id
        self._seen = seen
        self._caller = EVERYBODY
        self._place = ExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # as Starlette has it
        """Take a place for the listener; `run` does the rest, once the way here has been left."""
        self._caller = scope.get("caller", EVERYBODY)
        with ExitStack() as taken:
            # Whoever finds no place is told so by a status.
            taken.enter_context(self._services.watching.stream(self._caller.key_id))
            taken.enter_context(self._services.callers.staying(self._caller))
            self._place = taken.pop_all()
        scope[_STREAM] = self

    def leave(self) -> None:
        """Give the place back."""
        self._place.close()

    async def run(self, receive: Receive, send: Send) -> None:
        """Push until there is nothing more to tell, or nobody to tell it to."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        leaving = asyncio.create_task(_left(receive))
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as listened:

                def end(_: asyncio.Task[None]) -> None:
                    listened.reschedule(0)

                leaving.add_done_callback(end)
                try:
                    await self._push(send)
                finally:
                    leaving.remove_done_callback(end)
                    leaving.cancel()

    async def _push(self, send: Send) -> None:
        async for chunk in self._chunks():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self) -> AsyncIterator[bytes]:
        services, caller = self._services, self._caller
        yield b"retry: %d\n\n" % _RETRY_MS
        sent = time.monotonic()
        async with services.watching.of(self._task_id) as watched:
            while not watched.is_gone and not services.callers.is_revoked(caller):
                record = watched.record
                if record is not None and _is_news(record, self._seen):
                    self._seen = record.revision
                    yield _event("record", record.revision, watched.framed(services.records))
                    # Sending may have taken long: only the newest is worth it.
                    sent = time.monotonic()
                    continue
                if record is not None and record.status.is_final:
                    yield _event("end", record.revision, RunSummary.of(record).model_dump_json().encode())
                    return
                # Counted from what was sent: changes that are no news to this listener do not put it off.
                silent_until = sent + services.settings.heartbeat_seconds
                if (left := silent_until - time.monotonic()) > 0:
                    await watched.changed(left)
                    continue
                if record is not None and record.revision < self._seen:
                    # Counted before Redis was lost, or nowhere: what there is now is news.
                    self._seen = -1
                yield _HEARTBEAT
                sent = time.monotonic()


class Streams:
    """ASGI middleware: runs a stream when its request is over for FastAPI.

    All that found the route would else stay in memory for as long as somebody listens, 6 KB for each.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
            if _STREAM in scope:
                await scope[_STREAM].run(receive, send)
        finally:
            if _STREAM in scope:
                scope[_STREAM].leave()


def _is_news(record: TaskRecord, seen: int) -> bool:
    # An end that was rebuilt from Prefect counts anew.
    return record.revision > seen or (record.status.is_final and record.revision != seen)


def _event(name: str, revision: int, data: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (revision, name.encode(), data)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def seen_revision(last_event_id: str | None) -> int:
    """Return the revision in a Last-Event-ID header; what is none of ours begins anew."""
    if last_event_id is None or not last_event_id.isascii() or not last_event_id.isdecimal():
        return -1
    return int(last_event_id[:18])
