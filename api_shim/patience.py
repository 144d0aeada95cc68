"""Connections that never come to the point are closed: a request's head has a time and a size, as its body has.

uvicorn waits for the head of a request for ever, and keeps whatever comes of it.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MOST_HEAD_BYTES: Final = 64 * 1024


def protocol(head_seconds: float) -> type[asyncio.Protocol]:
    """Return the protocol class of a server whose callers have so long to send the head of a request."""

    class PatientProtocol(HttpToolsProtocol):
        """uvicorn's own, with an end to its patience."""

        _waiting: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: Any) -> None:  # noqa: ANN401  # as uvicorn has it
            super().connection_made(transport)
            self._watch(0)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch(len(data))

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_watching()
            super().connection_lost(exc)

        def _watch(self, received: int) -> None:
            # uvicorn sets it when a head is whole, whatever its annotation says.
            cycle: Any = self.cycle
            if cycle is not None and not cycle.response_complete:
                self._stop_watching()
                return
            self._head_bytes += received
            if self._head_bytes > _MOST_HEAD_BYTES:
                self.transport.close()
            elif self._waiting is None:
                self._waiting = self.loop.call_later(head_seconds, self.transport.close)

        def _stop_watching(self) -> None:
            self._head_bytes = 0
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

    return PatientProtocol
