"""Waiting for a server that is away for a moment: a run that has nothing to do without it waits and goes on."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gpu_tasks.contract.faults import FaultCode, FaultError

R = TypeVar("R")

OUTAGE_SECONDS = 150.0
_LONGEST_PAUSE_SECONDS = 5.0

_logger = logging.getLogger(__name__)


def is_bucket_away(error: BaseException) -> bool:
    """Tell whether the bucket did not answer."""
    return isinstance(error, FaultError) and error.fault.code is FaultCode.STORAGE_UNAVAILABLE


async def patiently(
    ask: Callable[[], Awaitable[R]],
    *,
    is_away: Callable[[BaseException], bool] = is_bucket_away,
    seconds: float = OUTAGE_SECONDS,
) -> R:
    """Return what `ask` returns, asking again while the server is away; after `seconds` its error is raised."""
    deadline = time.monotonic() + seconds
    pause = 0.5
    while True:
        try:
            return await ask()
        except Exception as error:
            if not is_away(error) or time.monotonic() > deadline:
                raise
            _logger.info("Waiting for a server that is away (%s).", type(error).__name__)
        # Spread: all runs wait for the same server.
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # guards nothing
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
