"""RunPod's documented rate limits, kept from our side: asking more than is allowed only costs a refusal.

Source: RunPod's operation reference (https://docs.runpod.io/serverless/endpoints/operation-reference, rate limits):
requests per ten seconds and at once, per user and endpoint. The limits rise with the number of running workers; the
documented base is what we keep to. `health` has no documented limit: the figure is ours.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

_WINDOW_SECONDS = 10.0
# A bucket may be emptied at once and is filled again within the same window: both together are the limit.
_BURST_SHARE = 0.2


class Operation(StrEnum):
    """What we ask of an endpoint; the value is the word in the path."""

    RUN = "run"
    STATUS = "status"
    CANCEL = "cancel"
    HEALTH = "health"


class Limit(NamedTuple):
    per_ten_seconds: int
    at_once: int


LIMITS: Mapping[Operation, Limit] = MappingProxyType(
    {
        Operation.RUN: Limit(1000, 200),
        Operation.STATUS: Limit(2000, 400),
        Operation.CANCEL: Limit(100, 20),
        Operation.HEALTH: Limit(50, 5),
    }
)


class TokenBucket:
    """Admits requests of one operation on one endpoint, in the order in which they came.

    Several processes of one account share RunPod's limit but not this bucket: what is then too much is answered with
    429, and `rest` keeps everybody here from asking again at once.
    """

    def __init__(self, limit: Limit) -> None:
        self._burst = max(1.0, limit.per_ten_seconds * _BURST_SHARE)
        self._per_second = limit.per_ten_seconds * (1 - _BURST_SHARE) / _WINDOW_SECONDS
        self._tokens = self._burst
        self._filled_at = time.monotonic()
        self._turn = asyncio.Lock()
        self._inside = asyncio.Semaphore(limit.at_once)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a token and a place; the place is given back at the end."""
        async with self._inside:
            # The lock is fair, so nobody overtakes who waits for the next token.
            async with self._turn:
                self._fill()
                if self._tokens < 1:
                    await asyncio.sleep((1 - self._tokens) / self._per_second)
                    self._fill()
                self._tokens -= 1
            yield

    def rest(self, seconds: float) -> None:
        """Admit nobody for a while: RunPod has said that it was too much."""
        self._fill()
        self._tokens = min(self._tokens, -seconds * self._per_second)

    def _fill(self) -> None:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
