"""Being woken by name: one Redis subscription for all waiters of a process. It is speed, never truth."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

_RECONNECT_SECONDS = 1.0
_CONNECT_SECONDS = 5.0


class Waker:
    """Waits until somebody calls or time has passed. A call that comes between two waits is not lost."""

    def __init__(self) -> None:
        self._called = asyncio.Event()

    def call(self) -> None:
        self._called.set()

    async def wait(self, seconds: float) -> bool:
        """Return True as soon as somebody calls, False after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._called.wait()
        was_called = self._called.is_set()
        self._called.clear()
        return was_called


class Wakes:
    """Hears every channel `{prefix}{name}` over one connection and calls who waits for the name.

    When Redis is away it is asked again every second; meanwhile waiters only let time pass.
    """

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix
        self._waiting: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
        self._listens = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(), name="wakes")

    @contextmanager
    def calling(self, name: str, call: Callable[[], None]) -> Iterator[None]:
        """Have `call` called whenever somebody wakes the name."""
        self._waiting[name].append(call)
        try:
            yield
        finally:
            self._waiting[name].remove(call)
            if not self._waiting[name]:
                del self._waiting[name]

    async def until_listening(self) -> None:
        """Return when calls are heard, or when Redis takes too long: the caller does not depend on it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECONNECT_SECONDS):
                await self._listens.wait()

    async def aclose(self) -> None:
        self._listening.cancel()
        await asyncio.wait([self._listening])
        await self._redis.aclose()

    async def _listen(self) -> None:
        while True:
            began = time.monotonic()
            with suppress(RedisError, OSError):
                await self._hear()
            self._listens.clear()
            await asyncio.sleep(max(0.0, _RECONNECT_SECONDS - (time.monotonic() - began)))

    async def _hear(self) -> None:
        pubsub = self._redis.pubsub()
        try:
            await pubsub.psubscribe(f"{_escaped(self._prefix)}*")
            while True:
                message = await pubsub.get_message(timeout=_CONNECT_SECONDS)
                if message is None:
                    continue
                if message["type"] == "psubscribe":
                    self._listens.set()
                    # What was called while nobody listened is made up for.
                    self._call_all()
                elif message["type"] == "pmessage":
                    channel = message["channel"]
                    text = channel.decode() if isinstance(channel, bytes) else str(channel)
                    self._call(text.removeprefix(self._prefix))
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it without types

    def _call(self, name: str) -> None:
        for call in tuple(self._waiting.get(name, ())):
            call()

    def _call_all(self) -> None:
        for name in tuple(self._waiting):
            self._call(name)


def _escaped(prefix: str) -> str:
    """Take the meaning from what a pattern would read as one."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^" else letter for letter in prefix)
