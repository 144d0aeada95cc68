"""Connections that never come to the point are closed: a request's head has a time and a size, as its body has.

uvicorn waits for the head of a request for ever, and keeps whatever comes of it.
"""

import asyncio
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES: Final = 64 * 1024
# How much longer than a head the rest of a refused body may take.
_LEFT_OVER: Final = 3


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's own, with an end to its patience."""

    head_seconds: ClassVar[float] = 10.0

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0
    # Whether what comes next belongs to a head; else it is a body, which has a limit of its own.
    _is_at_head = True

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # as uvicorn has it
        super().connection_made(transport)
        self._watch(0)

    def data_received(self, data: bytes) -> None:
        was_at_head = self._is_at_head
        super().data_received(data)
        # What ended a body is not the beginning of a head.
        self._watch(len(data) if was_at_head and self._is_at_head else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._is_at_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_at_head = True
        super().on_message_complete()

    def _watch(self, head_bytes: int) -> None:
        # uvicorn sets it when a head is whole, whatever its annotation says.
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._stop_watching()
            return
        self._head_bytes += head_bytes
        if self._head_bytes > _MOST_HEAD_BYTES:
            self.transport.close()
        elif self._waiting is None:
            # A body that was refused before it was whole is let run out, so that its sender reads why.
            seconds = self.head_seconds if self._is_at_head else self.head_seconds * _LEFT_OVER
            self._waiting = self.loop.call_later(seconds, self.transport.close)

    def _stop_watching(self) -> None:
        self._head_bytes = 0
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def protocol(head_seconds: float) -> type[PatientProtocol]:
    """Return the protocol class of a server whose callers have so long to send the head of a request."""
    return type("Protocol", (PatientProtocol,), {"head_seconds": head_seconds})
