"""How often a key may ask: counted in Redis for all shims together, and in this process while Redis is away."""

import math
import time
from collections import OrderedDict
from typing import Final

from api_shim.api_keys import ApiKey
from api_shim.errors import AnswerError
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.faults import FaultCode

# The generic cell rate algorithm: one number per key, the time at which it will have used up what it was given. By the
# clock of Redis, so that shims need not agree on one. Returns the milliseconds to wait, 0 when the request is let in.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + tonumber(ARGV[1])
local wait = due - now - tonumber(ARGV[2])
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil(due - now) + 1000)
return 0
"""

# How many requests may come at once, as a share of those of a minute.
_BURST: Final = 1 / 4
# Several shims count apart while Redis is away: together they must not let in more than before.
_CAUTION: Final = 1 / 2
_MINUTE_MS: Final = 60_000
_MOST_KEYS: Final = 10_000


class Rates:
    """Limits the requests of each key.

    Args:
        store: Where Redis is.
        per_minute: What a key may ask that has no number of its own.
    """

    def __init__(self, store: JobStore, *, per_minute: int) -> None:
        self._store = store
        self._per_minute = per_minute
        self._due: OrderedDict[str, float] = OrderedDict()

    async def take(self, key: ApiKey) -> None:
        """Count a request.

        Raises:
            AnswerError: RATE_LIMITED, with the seconds to wait.
        """
        per_minute = key.requests_per_minute or self._per_minute
        interval_ms, burst_ms = _MINUTE_MS / per_minute, max(_MINUTE_MS * _BURST, _MINUTE_MS / per_minute)
        try:
            name = f"{self._store.prefix}:rate:{key.id}"
            wait_ms = int(await self._store.run_script(_TAKE, keys=[name], args=[interval_ms, burst_ms]))
        except JobStoreError:
            wait_ms = self._take_here(key.id, interval_ms / _CAUTION, burst_ms)
        if wait_ms > 0:
            raise AnswerError(
                FaultCode.RATE_LIMITED,
                f"It may ask {per_minute} times a minute.",
                retry_after_seconds=math.ceil(wait_ms / 1000),
            )

    def _take_here(self, key_id: str, interval_ms: float, burst_ms: float) -> int:
        """Do what the script does, in this process."""
        now = time.monotonic() * 1000
        due = max(self._due.get(key_id, now), now) + interval_ms
        wait = due - now - burst_ms
        if wait > 0:
            return math.ceil(wait)
        self._due[key_id] = due
        self._due.move_to_end(key_id)
        if len(self._due) > _MOST_KEYS:
            self._due.popitem(last=False)
        return 0
