"""What the reverse proxy does: connections to one address go to whichever replica takes them."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"


class Balancer:
    """A loopback address in front of replicas, each tried in turn until one accepts."""

    def __init__(self, replicas: Sequence[int]) -> None:
        self._replicas = itertools.cycle(replicas)
        self._count = len(replicas)
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._carry, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            # Cancelled only by `serve`, at its end; asyncio's streams would log a cancelled task as an error.
            with contextlib.suppress(asyncio.CancelledError):
                await self._pour_both(reader, writer)
        finally:
            self._serving.discard(task)
            await _closed(writer)

    async def _pour_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in itertools.islice(self._replicas, self._count):
            with contextlib.suppress(OSError):
                there, back = await asyncio.open_connection(HOST, port)
                try:
                    await asyncio.gather(_pour(reader, back), _pour(there, writer))
                finally:
                    await _closed(back)
                break


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    sink.close()


@contextlib.contextmanager
def balanced(replicas: Sequence[int]) -> Iterator[str]:
    """Run a balancer in a thread of its own; yields its address."""
    balancer, ready = Balancer(replicas), threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(balancer.serve(ready, stop)), daemon=True)
    thread.start()
    assert ready.wait(10), "the balancer did not start"
    try:
        yield f"http://{HOST}:{balancer.port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
