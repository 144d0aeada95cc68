"""What is asked for at once is read at once, and nobody is told what was there before it asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

from blocks.joint_reads import JointReads
from deployments.local.addresses import StackAddresses
from tests.servers import valkey_server

__all__ = ["valkey_server"]

Reads = JointReads[str, bytes | str | None]


@pytest.fixture
async def redis(valkey_server: StackAddresses) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_server.redis_url.get_secret_value()) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def reads(redis: Redis) -> AsyncIterator[Reads]:
    reading: Reads = JointReads(redis.mget)
    yield reading
    await reading.aclose()


async def _commands(redis: Redis) -> int:
    return int((await redis.info("commandstats")).get("cmdstat_mget", {}).get("calls", 0))


async def test_all_who_ask_at_once_get_their_own_answer_from_one_command(redis: Redis, reads: Reads) -> None:
    await redis.mset({f"key:{number}": f"{number}" for number in range(50)})
    before = await _commands(redis)
    answers = await asyncio.gather(*(reads.get(f"key:{number % 51}") for number in range(200)))
    assert answers == [None if number % 51 == 50 else f"{number % 51}".encode() for number in range(200)]
    assert await _commands(redis) - before == 1


async def test_whoever_asks_after_a_change_is_told_the_change(redis: Redis, reads: Reads) -> None:
    asking = []
    for number in range(200):
        await redis.set("key", str(number))
        asking.append((number, asyncio.create_task(reads.get("key"))))
        # Some are asked for while a command is under way, which must not take them along.
        if number % 3:
            await asyncio.sleep(0)
    for number, asked in asking:
        told = await asked
        assert told is not None
        assert int(told) >= number


async def test_one_who_leaves_takes_nobody_else_along(redis: Redis, reads: Reads) -> None:
    await redis.set("key", "there")
    leaving, staying = asyncio.create_task(reads.get("key")), asyncio.create_task(reads.get("key"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == b"there"
    await asyncio.wait([leaving])
    assert leaving.cancelled()


async def test_an_outage_is_told_to_all_and_ends_with_the_outage(redis: Redis) -> None:
    port = int(redis.connection_pool.connection_kwargs["port"])
    async with Redis.from_pool(ConnectionPool(**redis.connection_pool.connection_kwargs | {"port": 1})) as away:
        reads: Reads = JointReads(away.mget)
        told = await asyncio.gather(*(reads.get(f"key:{number}") for number in range(5)), return_exceptions=True)
        assert all(isinstance(each, RedisError | OSError) for each in told)
        away.connection_pool.connection_kwargs["port"] = port
        away.connection_pool.reset()  # type: ignore[no-untyped-call]  # redis leaves it without types
        assert await reads.get("key:0") is None
        await reads.aclose()


class Desk:
    """Answers with how often it was asked, when it may."""

    def __init__(self) -> None:
        self.calls = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def ask(self, asked: list[None]) -> list[int]:
        self.calls += 1
        number = self.calls
        self.was_asked.set()
        await self.may_answer.wait()
        if number > 2:
            raise ValueError("closed")
        return [number for _ in asked]


async def test_who_asks_while_a_call_is_under_way_shares_the_next() -> None:
    desk = Desk()
    joint = JointReads(desk.ask)
    first = asyncio.create_task(joint.get(None))
    await desk.was_asked.wait()
    later = [asyncio.create_task(joint.get(None)) for _ in range(20)]
    await asyncio.sleep(0)
    desk.may_answer.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 20
    assert desk.calls == 2


async def test_a_question_that_is_withdrawn_leaves_the_others_their_answer() -> None:
    desk = Desk()
    joint = JointReads(desk.ask)
    asked = [asyncio.create_task(joint.get(None)) for _ in range(2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    desk.may_answer.set()
    assert await asked[1] == 1


async def test_an_error_reaches_all_who_asked_and_nobody_after_them() -> None:
    desk = Desk()
    desk.may_answer.set()
    joint = JointReads(desk.ask)
    assert [await joint.get(None), await joint.get(None)] == [1, 2]
    failed = await asyncio.gather(joint.get(None), joint.get(None), return_exceptions=True)
    assert [str(error) for error in failed] == ["closed"] * 2
    assert desk.calls == 3


async def test_what_is_closed_answers_nobody() -> None:
    desk = Desk()
    joint = JointReads(desk.ask)
    asked = asyncio.create_task(joint.get(None))
    await asyncio.sleep(0)
    await joint.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asked
