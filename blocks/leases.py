"""Which worker process works on which run: one lease per run in Redis, so that a dead worker's runs are found.

Leases are speed, not truth. They end by themselves; what a run is and how often it was taken up stands in Prefect.
Only commands that every hosted Redis knows, one key per script.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from blocks.settings import OrchestratorSettings
from gpu_tasks.contract.faults import FaultCode, FaultError

_SOCKET_SECONDS = 2.0
# Who finds the run of a dead worker ends its trial; this is for a run that nobody finds.
_TRIAL_MS = 600_000

# Take what is free, mine already, or held by whom I have seen to be dead; nobody else can take it in between.
_TAKE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and held ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# An expired lease is never revived unasked: whoever held it must first make sure that nobody has gone on meanwhile.
_RENEW = """
local held = redis.call('GET', KEYS[1])
if not held then return 1 end
if held ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 2
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class LeaseError(FaultError):
    """Redis does not answer."""


class Holder(BaseModel):
    """A worker process.

    Attributes:
        name: The worker's name in Prefect.
        place: Where its pid has a meaning: host and process namespace.
        pid: Its process id there.
        epoch: Made at its start: a process that was started again under the same name and pid is another one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    place: str
    pid: int
    epoch: str


class Renewal(IntEnum):
    """What became of a lease that its holder wanted to renew; the numbers are the script's."""

    TAKEN = 0
    MISSING = 1
    RENEWED = 2


class Leases:
    """The leases of one worker process, and a look at those of the others. Every method raises LeaseError.

    Args:
        redis: Apart from the pool that records use: a renewal must not wait behind them.
        prefix: First part of every key.
        holder: This process.
        seconds: How long a lease lasts without being renewed.
    """

    def __init__(self, redis: Redis, prefix: str, holder: Holder, seconds: float) -> None:
        self.holder = holder
        self.seconds = seconds
        self._redis = redis
        self._prefix = prefix
        self._me = holder.model_dump_json()
        self._lease_ms = int(seconds * 1000)

    @classmethod
    def of(cls, settings: OrchestratorSettings, holder: Holder) -> "Leases":
        """Return the leases as the settings say."""
        redis = Redis.from_url(
            settings.jobstore_redis_url.get_secret_value(),
            socket_timeout=_SOCKET_SECONDS,
            socket_connect_timeout=_SOCKET_SECONDS,
            decode_responses=True,
        )
        return cls(redis, settings.jobstore_prefix, holder, settings.lease_seconds)

    async def take(self, run_id: str, *, instead_of: Holder | None = None) -> bool:
        """Take a run's lease; False when another worker has it. `instead_of` is a holder that is known to be dead."""
        seen = instead_of.model_dump_json() if instead_of else ""
        with _answered():
            script = self._redis.register_script(_TAKE)
            return bool(await script(keys=[self._key(run_id)], args=[self._me, self._lease_ms, seen]))

    async def renew(self, run_ids: Sequence[str]) -> tuple[bool, dict[str, Renewal]]:
        """Renew the leases of runs; also tell whether Redis still knows this worker, which it does not after a loss."""
        script = self._redis.register_script(_RENEW)
        with _answered():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(self._key(f"worker:{self.holder.epoch}"), self.holder.name, px=self._lease_ms, get=True)
                await _all(pipe, (script, [self._key(run_id) for run_id in run_ids], [self._me, self._lease_ms]))
                known, *renewals = await pipe.execute()
        return known is not None, {run_id: Renewal(found) for run_id, found in zip(run_ids, renewals, strict=True)}

    async def release(self, run_ids: Iterable[str]) -> None:
        """Give leases back; those of others stay."""
        script = self._redis.register_script(_RELEASE)
        with _answered():
            async with self._redis.pipeline(transaction=False) as pipe:
                await _all(pipe, (script, [self._key(run_id) for run_id in run_ids], [self._me]))
                await pipe.execute()

    async def holders(self, run_ids: Sequence[str]) -> dict[str, Holder | None]:
        """Return who holds the runs."""
        if not run_ids:
            return {}
        with _answered():
            found = await self._redis.mget([self._key(run_id) for run_id in run_ids])
        return {run_id: _holder(told) for run_id, told in zip(run_ids, found, strict=True)}

    async def begin_trial(self, run_id: str) -> bool:
        """Let a run that may kill its worker begin alone; False while another one does."""
        with _answered():
            is_set = await self._redis.set(self._trial, run_id, px=_TRIAL_MS, nx=True)
            return bool(is_set) or await self._redis.get(self._trial) == run_id

    async def end_trial(self, run_id: str) -> bool:
        """End a run's trial; False when it was not on trial."""
        with _answered():
            return bool(await self._redis.register_script(_RELEASE)(keys=[self._trial], args=[run_id]))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    @property
    def _trial(self) -> str:
        return f"{self._prefix}:trial"

    def _key(self, run_id: str) -> str:
        return f"{self._prefix}:lease:{run_id}"


async def _all(pipe: Pipeline, each: tuple[Any, list[str], list[object]]) -> None:
    script, keys, args = each
    for key in keys:
        await script(keys=[key], args=args, client=pipe)


def _holder(told: bytes | str | None) -> Holder | None:
    try:
        return Holder.model_validate_json(told) if told else None
    except ValidationError:
        # Another release's: it is somebody, but nobody whose process could be asked for.
        return Holder(name="", place="", pid=0, epoch="")


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise LeaseError(FaultCode.ORCHESTRATOR_UNAVAILABLE, "Redis does not answer.") from error
