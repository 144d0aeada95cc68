"""A proxy in front of a server, for what may happen to a request on its way."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

import httpx

HOST = "127.0.0.1"
_CHUNK_BYTES = 65536


class Fate(Enum):
    PASSED = auto()
    # The server gets it, and its answer is collected: what never ends never comes.
    HELD = auto()
    # The connection breaks before the server hears of it.
    CUT = auto()


Judge = Callable[[bytes], Fate]


class _Proxy:
    def __init__(self, server: httpx.URL, judge: Judge) -> None:
        self._server = server
        self._judge = judge
        self._carrying: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self, is_ready: threading.Event, stop: asyncio.Event) -> None:
        listening = await asyncio.start_server(self._carry, HOST, 0)
        self.port = listening.sockets[0].getsockname()[1]
        is_ready.set()
        await stop.wait()
        listening.close()
        carrying = list(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        there, back = await asyncio.open_connection(self._server.host, self._server.port)
        is_held = asyncio.Event()
        directions = (self._ask(reader, back, is_held), _answer(there, writer, is_held))
        working = [asyncio.create_task(direction) for direction in directions]
        try:
            # Whichever side leaves, the other one is left.
            await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in working:
                direction.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            for side in (back, writer):
                side.close()
                with suppress(OSError):
                    await side.wait_closed()
            self._carrying.discard(task)

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, is_held: asyncio.Event) -> None:
        # A client sends its next request when the answer to the one before is there: a request begins a chunk.
        while asked := await reader.read(_CHUNK_BYTES):
            fate = self._judge(asked)
            if fate is Fate.CUT:
                return
            if fate is Fate.HELD:
                is_held.set()
            back.write(asked)
            await back.drain()


async def _answer(there: asyncio.StreamReader, writer: asyncio.StreamWriter, is_held: asyncio.Event) -> None:
    while answer := await there.read(_CHUNK_BYTES):
        if not is_held.is_set():
            writer.write(answer)
            await writer.drain()


@contextmanager
def proxied(url: str, judge: Judge) -> Iterator[str]:
    """Run a proxy before the server at `url`, in a thread of its own; yields its address.

    Args:
        url: Of the server.
        judge: Says what happens to a request, by the first bytes of it. It is shown later parts of its body, too.
    """
    proxy, is_ready = _Proxy(httpx.URL(url), judge), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(is_ready, stop)), daemon=True)
    thread.start()
    assert is_ready.wait(60), "the proxy did not start"
    try:
        yield f"http://{HOST}:{proxy.port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
