"""Keys that are asked for at once are read in one command, and nobody is told what was there before it asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import RedisError

from blocks.joint_reads import JointReads
from deployments.local.addresses import StackAddresses
from tests.servers import valkey_server

__all__ = ["valkey_server"]


@pytest.fixture
async def redis(valkey_server: StackAddresses) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_server.redis_url.get_secret_value()) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def reads(redis: Redis) -> AsyncIterator[JointReads]:
    reading = JointReads(redis)
    yield reading
    await reading.aclose()


async def _commands(redis: Redis) -> int:
    return int((await redis.info("commandstats")).get("cmdstat_mget", {}).get("calls", 0))


async def test_all_who_ask_at_once_get_their_own_answer_from_one_command(redis: Redis, reads: JointReads) -> None:
    await redis.mset({f"key:{number}": f"{number}" for number in range(50)})
    before = await _commands(redis)
    answers = await asyncio.gather(*(reads.get(f"key:{number % 51}") for number in range(200)))
    assert answers == [None if number % 51 == 50 else f"{number % 51}".encode() for number in range(200)]
    assert await _commands(redis) - before == 1


async def test_whoever_asks_after_a_change_is_told_the_change(redis: Redis, reads: JointReads) -> None:
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


async def test_one_who_leaves_takes_nobody_else_along(redis: Redis, reads: JointReads) -> None:
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
        reads = JointReads(away)
        told = await asyncio.gather(*(reads.get(f"key:{number}") for number in range(5)), return_exceptions=True)
        assert all(isinstance(each, RedisError | OSError) for each in told)
        away.connection_pool.connection_kwargs["port"] = port
        away.connection_pool.reset()  # type: ignore[no-untyped-call]  # redis leaves it without types
        assert await reads.get("key:0") is None
        await reads.aclose()
