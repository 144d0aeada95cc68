"""The two kinds of clients of Redis: one that asks and will not wait long, one that listens for as long as it takes."""

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from blocks.lasting_cancellations import keep_cancellations

_MAX_CONNECTIONS: Final = 16
_SOCKET_SECONDS: Final = 5.0
_HEALTH_CHECK_SECONDS: Final = 30


def commanding(url: str) -> Redis:
    """Return a client for commands; nothing is sent yet."""
    keep_cancellations()
    # Callers wait for one of few connections: hosted plans count them.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=_SOCKET_SECONDS,
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        health_check_interval=_HEALTH_CHECK_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(), 3),
    )
    return Redis.from_pool(pool)


def listening(url: str) -> Redis:
    """Return a client whose replies may be waited for without end; nothing is sent yet."""
    return Redis.from_url(
        url,
        socket_timeout=None,
        socket_connect_timeout=_SOCKET_SECONDS,
        health_check_interval=_HEALTH_CHECK_SECONDS,
    )
