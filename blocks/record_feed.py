"""Which records have changed, heard over one connection to Redis for all that a process watches."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

_logger = logging.getLogger(__name__)

_RECONNECT_SECONDS: Final = 0.2
_MAX_RECONNECT_SECONDS: Final = 5.0
# Between two looks at the connection's health; messages come at once.
_READ_SECONDS: Final = 20.0
# A connection without any subscription cannot be read: this one is never given up.
_ALWAYS: Final = "feed"


class RecordFeed:
    """One subscription for each task that is watched, however many watch it; hosted plans count connections.

    Args:
        redis: A client whose replies may be waited for without end, and which does not try again by itself.
        channel_of: The channel on which the changes of a task are told.
    """

    def __init__(self, redis: Redis, channel_of: Callable[[str], str]) -> None:
        self._redis = redis
        self._channel_of = channel_of
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._wanted_changed = asyncio.Event()
        self._is_live = False

    @property
    def is_live(self) -> bool:
        """Whether changes are heard now; without Redis they have to be looked for."""
        return self._is_live

    @contextmanager
    def hearing(self, task_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set when the record may have changed, and when listening has begun or broken off."""
        channel, news = self._channel_of(task_id), asyncio.Event()
        self._listeners.setdefault(channel, set()).add(news)
        self._wanted_changed.set()
        try:
            yield news
        finally:
            self._listeners[channel].discard(news)
            if not self._listeners[channel]:
                del self._listeners[channel]
                self._wanted_changed.set()

    async def run(self) -> None:
        """Listen until cancelled; whatever happens to the connection, connect again."""
        try:
            await self._stay_connected()
        finally:
            await self._redis.aclose()

    async def _stay_connected(self) -> None:
        pause = _RECONNECT_SECONDS
        while True:
            try:
                async with self._redis.pubsub() as messages:
                    await messages.subscribe(self._channel_of(_ALWAYS))
                    pause = _RECONNECT_SECONDS
                    await self._listen(messages)
            except (RedisError, OSError) as error:
                _logger.warning("the changes of records are not heard (%s); connecting again", type(error).__name__)
            finally:
                self._is_live = False
                self._tell_all()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RECONNECT_SECONDS)

    async def _listen(self, messages: PubSub) -> None:
        # One task subscribes, one reads: commands and replies have a stream of their own each.
        reading = asyncio.create_task(self._read(messages))
        subscribing = asyncio.create_task(self._subscribe(messages))
        try:
            await asyncio.wait((reading, subscribing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, subscribing):
                task.cancel()
            ended = await asyncio.gather(reading, subscribing, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    async def _read(self, messages: PubSub) -> None:
        while True:
            message = await messages.get_message(timeout=_READ_SECONDS)
            if message is None:
                continue
            self._is_live = True
            # A confirmed subscription is news, too: what changed before it was not heard.
            channel = message["channel"]
            for news in self._listeners.get(channel.decode() if isinstance(channel, bytes) else channel, ()):
                news.set()

    async def _subscribe(self, messages: PubSub) -> None:
        subscribed: set[str] = set()
        while True:
            self._wanted_changed.clear()
            wanted = set(self._listeners)
            if new := wanted - subscribed:
                await messages.subscribe(*new)
            if left := subscribed - wanted:
                await messages.unsubscribe(*left)
            subscribed = wanted
            await self._wanted_changed.wait()

    def _tell_all(self) -> None:
        for listeners in self._listeners.values():
            for news in listeners:
                news.set()


async def heard_within(news: asyncio.Event, seconds: float) -> None:
    """Return as soon as there is news, at the latest after `seconds`; the news count as heard then."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()
    news.clear()
