"""How many jobs are on an endpoint at once, counted by all workers together in Redis; who is next when there are more.

The order is ours: a higher priority first, then who came first. RunPod's own queue knows no priorities, so the line is
kept here, in front of it. Without Redis each process keeps to the limit by itself.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from blocks.connections import shared
from blocks.job_store import JobStore, JobStoreError

_LEASE_MS = 60_000
_RENEW_SECONDS = 15.0
# Who stands in line says so again within this time, else the next one goes on.
_WAITING_MS = 10_000
_LOOK_SECONDS = 2.0

# KEYS: holders, line, waiting. ARGV: member, priority, limit, lease and waiting time in ms, 1 for who is in already.
_ENTER = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
local is_in = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not is_in and ARGV[6] ~= '1' then
  if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
    redis.call('ZADD', KEYS[2], now - tonumber(ARGV[2]) * 1e13, ARGV[1])
  end
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[5]), ARGV[1])
  local free = tonumber(ARGV[3]) - redis.call('ZCARD', KEYS[1])
  if redis.call('ZRANK', KEYS[2], ARGV[1]) >= free then return 0 end
end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), ARGV[1])
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[4] * 10) end
return 1
"""


class EndpointSlots:
    """The places of one endpoint, as one process sees them."""

    def __init__(self, jobs: JobStore, endpoint_id: str) -> None:
        self._jobs = jobs
        self._name = f"slots:{endpoint_id}"
        self._mine: set[str] = set()

    @classmethod
    def of(cls, jobs: JobStore, endpoint_id: str) -> "EndpointSlots":
        """Return the running loop's view of an endpoint's places."""
        name = ("slots", jobs.redis_url.get_secret_value(), jobs.prefix, endpoint_id)
        return shared(name, lambda: cls(jobs, endpoint_id))

    @asynccontextmanager
    async def entered(
        self, member: str, *, priority: int, limit: int | None, is_in: bool = False
    ) -> AsyncIterator[None]:
        """Wait for a place and keep it until the block is left. Without a limit there is always one.

        `is_in`: the member's job is on the endpoint already (its run goes on in this process), so it only is counted.
        """
        if limit is None:
            yield
            return
        renewing: asyncio.Task[None] | None = None
        try:
            if is_in:
                await self._ask(member, priority, limit, is_in=True)
            else:
                await self._wait(member, priority, limit)
            self._mine.add(member)
            renewing = asyncio.create_task(self._renew(member, priority, limit), name=f"{self._name} {member}")
            yield
        finally:
            self._mine.discard(member)
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait([renewing])
            await self._leave(member)

    async def aclose(self) -> None:
        """Nothing to close; leases end by themselves."""

    async def _wait(self, member: str, priority: int, limit: int) -> None:
        async with self._jobs.woken(self._name) as waker:
            while not await self._ask(member, priority, limit):
                await waker.wait(_LOOK_SECONDS)

    async def _ask(self, member: str, priority: int, limit: int, *, is_in: bool = False) -> bool:
        asked: list[str | float] = [member, priority, limit, _LEASE_MS, _WAITING_MS, int(is_in)]
        try:
            answer = await self._jobs.run_script(_ENTER, keys=self._keys(), args=asked)
        except JobStoreError:
            return member in self._mine or len(self._mine) < limit
        return bool(answer)

    async def _renew(self, member: str, priority: int, limit: int) -> None:
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            # A Redis that was lost is told anew who is in.
            await self._ask(member, priority, limit, is_in=True)

    async def _leave(self, member: str) -> None:
        # Without Redis the lease ends by itself.
        with suppress(JobStoreError):
            async with self._jobs.commands() as redis:
                for key in self._keys():
                    await redis.zrem(key, member)
            await self._jobs.wake(self._name)

    def _keys(self) -> list[str]:
        return [f"{self._jobs.prefix}:{self._name}:{part}" for part in ("holders", "line", "waiting")]
