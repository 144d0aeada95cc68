"""How many tasks of a key may go on at once: counted in Redis, rebuilt from Prefect, asked there without Redis."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import uuid4

from api_shim.api_keys import ApiKey
from api_shim.errors import AnswerError
from api_shim.runs import Runs, RunsError
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.faults import FaultCode

# A sorted set of task ids by the time they came in. Its mark says that it was filled from Prefect: a set without it is
# one that Redis has lost. Returns the members when there is no room, nothing when the place is taken, false when lost.
_TAKE = """
if not redis.call('ZSCORE', KEYS[1], 'filled') then return false end
if redis.call('ZCARD', KEYS[1]) - 1 >= tonumber(ARGV[1]) then return redis.call('ZRANGE', KEYS[1], 1, -1) end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
return {}
"""
_FILL = """
redis.call('ZADD', KEYS[1], 0, 'filled')
for place = 2, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[place]) end
redis.call('EXPIRE', KEYS[1], 86400)
"""
_SWAP = """
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[2] then redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2]) end
"""

_TRIES: Final = 3
_RETRY_AFTER_SECONDS: Final = 15
# A place that was taken for a run whose shim died before it existed.
_RESERVED: Final = "reserved:"
_RESERVED_SECONDS: Final = 60.0


class Place:
    """One of a key's places; the run that takes it is named as soon as it exists."""

    def __init__(self) -> None:
        self.task_id: str | None = None


class Quotas:
    """Limits the tasks of each key that are going on at once.

    Args:
        store: The mirror, and where Redis is.
        runs: What Redis has lost is asked here.
        max_tasks: What a key may have that has no number of its own.
    """

    def __init__(self, store: JobStore, runs: Runs, *, max_tasks: int) -> None:
        self._store = store
        self._runs = runs
        self._max_tasks = max_tasks
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def place(self, key: ApiKey | None) -> AsyncIterator[Place]:
        """Hold a place for a run that is about to be created.

        Raises:
            AnswerError: QUOTA_EXCEEDED.
            RunsError: ORCHESTRATOR_UNAVAILABLE.
        """
        place = Place()
        if key is None:
            yield place
            return
        limit = key.max_tasks or self._max_tasks
        reserved = f"{_RESERVED}{time.time():.0f}:{uuid4().hex}"
        try:
            is_taken = await self._take(key.id, limit, reserved)
        except JobStoreError:
            # Without Redis each shim asks Prefect, one request of a key after the other.
            async with self._one_at_a_time[key.id]:
                _check(len(await self._runs.unfinished(key.id)) < limit, limit)
                yield place
            return
        _check(is_taken, limit)
        try:
            yield place
        finally:
            swapped = [reserved, place.task_id, time.time()] if place.task_id else [reserved]
            with suppress(JobStoreError):
                await self._run(_SWAP, key.id, *swapped)

    async def _take(self, key_id: str, limit: int, reserved: str) -> bool:
        for _ in range(_TRIES):
            full = await self._run(_TAKE, key_id, limit, time.time(), reserved)
            if full is None:
                unfinished = await self._runs.unfinished(key_id)
                await self._run(_FILL, key_id, time.time(), *unfinished)
                continue
            if not full:
                return True
            if not await self._free(key_id, [member.decode() for member in full]):
                return False
        return False

    async def _run(self, script: str, key_id: str, *arguments: str | float) -> Any:  # noqa: ANN401  # Redis' answers
        name = f"{self._store.prefix}:active:{key_id}"
        return await self._store.run_script(script, keys=[name], args=list(arguments))

    async def _free(self, key_id: str, members: list[str]) -> bool:
        """Give back the places of what has ended; True when there was any."""
        ended = [member for member, is_over in zip(members, await self._are_over(members), strict=True) if is_over]
        for member in ended:
            await self._run(_SWAP, key_id, member)
        return bool(ended)

    async def _are_over(self, members: list[str]) -> list[bool]:
        return list(await asyncio.gather(*map(self._is_over, members)))

    async def _is_over(self, member: str) -> bool:
        if member.startswith(_RESERVED):
            return time.time() - float(member.split(":")[1]) > _RESERVED_SECONDS
        record = await self._store.read(member)
        if record is not None:
            return record.status.is_final
        try:
            run = await self._runs.find(member)
        except RunsError as error:
            if error.fault.code is FaultCode.TASK_UNKNOWN:
                return True
            raise
        return run.state is not None and run.state.is_final()


def _check(has_room: bool, limit: int) -> None:  # noqa: FBT001  # a condition
    if not has_room:
        raise AnswerError(FaultCode.QUOTA_EXCEEDED, f"It may have {limit}.", retry_after_seconds=_RETRY_AFTER_SECONDS)
