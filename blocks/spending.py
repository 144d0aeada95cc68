"""The day's GPU spending of all runs together: one Redis hash, an entry per attempt, checked and raised in one step.

It is a copy. Whoever finds the hash missing (a new day, a lost Redis) fills it from the ledger in the bucket before
anything is reserved.
"""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from blocks.job_store import JobStore

_KEPT_SECONDS = 3 * 86400
# The field that says that the hash has been filled; a day without a job is no lost day.
_FILLED = "filled"

# ARGV: entry, seconds, usd, limit of seconds, limit of usd (empty: none), seconds to keep.
# Returns 'unknown' when the hash is not there, else 'free' (and reserves), 'later' or 'spent'.
_RESERVE = """
if redis.call('HEXISTS', KEYS[1], 'filled') == 0 then return 'unknown' end
local sums = {open = {0, 0}, done = {0, 0}}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local kind, seconds, usd = string.match(all[i + 1], '^(%a+) ([%d%.e+-]+) ([%d%.e+-]+)$')
  if kind and all[i] ~= ARGV[1] then
    sums[kind][1] = sums[kind][1] + tonumber(seconds)
    sums[kind][2] = sums[kind][2] + tonumber(usd)
  end
end
local verdict = 'free'
for unit = 1, 2 do
  local wanted, limit = tonumber(ARGV[1 + unit]), tonumber(ARGV[3 + unit])
  if limit and sums.done[unit] + wanted > limit then return 'spent' end
  if limit and sums.done[unit] + sums.open[unit] + wanted > limit then verdict = 'later' end
end
if verdict == 'free' then
  redis.call('HSET', KEYS[1], ARGV[1], 'open ' .. ARGV[2] .. ' ' .. ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[6])
end
return verdict
"""


class Amount(BaseModel):
    """GPU seconds and US dollars; without a price the dollars are zero."""

    model_config = ConfigDict(frozen=True)

    seconds: float = Field(default=0.0, ge=0)
    usd: float = Field(default=0.0, ge=0)

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(seconds=self.seconds + other.seconds, usd=self.usd + other.usd)


class Limits(NamedTuple):
    """The most of both; None: no limit."""

    seconds: float | None = None
    usd: float | None = None


class Room(StrEnum):
    """Whether an amount may be reserved: yes, when what others have reserved comes to less, or no more today."""

    FREE = "free"
    LATER = "later"
    SPENT = "spent"


class Booked(NamedTuple):
    """An entry: what an attempt may cost while it is open, what it has cost afterwards."""

    amount: Amount
    is_open: bool


def room_for(wanted: Amount, booked: Mapping[str, Booked], limits: Limits) -> Room:
    """Judge as the script in Redis does; for one run, and while Redis is away."""
    done = sum((entry.amount for entry in booked.values() if not entry.is_open), Amount())
    still_open = sum((entry.amount for entry in booked.values() if entry.is_open), Amount())
    room = Room.FREE
    for limit, spent, reserved, more in (
        (limits.seconds, done.seconds, still_open.seconds, wanted.seconds),
        (limits.usd, done.usd, still_open.usd, wanted.usd),
    ):
        if limit is None:
            continue
        if spent + more > limit:
            return Room.SPENT
        if spent + reserved + more > limit:
            room = Room.LATER
    return room


class DayBook:
    """What is booked on a day of UTC, in Redis. All methods raise JobStoreError when Redis is away."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    async def reserve(self, day: date, entry: str, wanted: Amount, limits: Limits) -> Room | None:
        """Book the most that an attempt may cost, if there is room; None when the day has to be filled first."""
        answer = await self._jobs.run_script(
            _RESERVE,
            keys=[self._key(day)],
            args=[entry, wanted.seconds, wanted.usd, _or_none(limits.seconds), _or_none(limits.usd), _KEPT_SECONDS],
        )
        word = answer.decode() if isinstance(answer, bytes) else str(answer)
        return None if word == "unknown" else Room(word)

    async def fill(self, day: date, booked: Mapping[str, Booked]) -> None:
        """Write what the ledger knows of a day; what others have booked meanwhile stays."""
        async with self._jobs.commands() as redis:
            pipeline = redis.pipeline(transaction=True)
            for entry, one in booked.items():
                pipeline.hsetnx(self._key(day), entry, _text(one))
            pipeline.hset(self._key(day), _FILLED, "yes")
            pipeline.expire(self._key(day), _KEPT_SECONDS)
            await pipeline.execute()

    async def settle(self, day: date, entry: str, amount: Amount) -> None:
        """Book what an attempt has really cost in the place of what was reserved for it."""
        async with self._jobs.commands() as redis:
            await redis.hset(self._key(day), entry, _text(Booked(amount, is_open=False)))

    def _key(self, day: date) -> str:
        return f"{self._jobs.prefix}:spent:{day.isoformat()}"


def _text(booked: Booked) -> str:
    return f"{'open' if booked.is_open else 'done'} {booked.amount.seconds} {booked.amount.usd}"


def _or_none(limit: float | None) -> str:
    return "" if limit is None else str(limit)
