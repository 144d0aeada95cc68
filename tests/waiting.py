"""Waiting in tests: always for a condition, always with a deadline and a description."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

# What is awaited comes in a moment, or never: a deadline costs time only where a test fails anyway, and a machine that
# is busy with other tests lets everybody wait for longer than seems possible.
PATIENCE_SECONDS = 60.0
_PAUSE_SECONDS = 0.02


def wait_until(look: Callable[[], Found | None], *, what: str, seconds: float = PATIENCE_SECONDS) -> Found:
    """Return the first truthy value of `look`, or fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        time.sleep(_PAUSE_SECONDS)


async def await_until(
    look: Callable[[], Found | Awaitable[Found | None] | None], *, what: str, seconds: float = PATIENCE_SECONDS
) -> Found:
    """Return the first truthy value of `look` (awaited if need be), or fail with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        found = await seen if inspect.isawaitable(seen) else seen
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what}")
        await asyncio.sleep(_PAUSE_SECONDS)
