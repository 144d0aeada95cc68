"""Cancellations that are not lost: redis-py waits by `asyncio.wait_for`, which loses some before Python 3.12.

Whoever is cancelled in the moment in which a command has just been sent would go on as if nothing had been said
(python/cpython#86296): a cancelled run would pay for its next GPU job.
"""

import asyncio
import sys
import types
from collections.abc import Awaitable
from typing import TypeVar

import redis.asyncio.connection

T = TypeVar("T")


def keep_cancellations() -> None:
    """Let redis-py wait without losing them, in this process."""
    if sys.version_info < (3, 12):
        shared = types.ModuleType("asyncio")
        shared.__dict__.update(asyncio.__dict__)
        shared.__dict__["wait_for"] = _wait_for
        redis.asyncio.connection.asyncio = shared  # type: ignore[attr-defined]  # a module stands in for a module


async def _wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109  # asyncio's own
    async with asyncio.timeout(timeout):
        return await awaitable
