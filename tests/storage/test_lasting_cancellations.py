"""Whoever is cancelled while a command is sent to Redis is cancelled, whatever the moment."""

import asyncio
import inspect

import pytest
from redis.asyncio import connection

from blocks import redis_clients


async def test_a_cancellation_is_not_lost_in_the_moment_in_which_a_command_has_been_sent() -> None:
    await redis_clients.commanding("redis://127.0.0.1:1").aclose()
    loop = asyncio.get_running_loop()
    sent = loop.create_future()

    async def sending() -> None:
        await sent

    # As redis-py calls it, by the name that it has there.
    assert "await asyncio.wait_for(" in inspect.getsource(connection.AbstractConnection.send_packed_command)
    wait_for = vars(connection)["asyncio"].wait_for
    for turns in range(4):
        sent = loop.create_future()
        task = asyncio.create_task(wait_for(sending(), 5.0))
        for _ in range(3):
            await asyncio.sleep(0)
        sent.set_result(None)
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_command_that_is_not_sent_in_time_is_given_up() -> None:
    wait_for = vars(connection)["asyncio"].wait_for
    with pytest.raises(TimeoutError):
        await wait_for(asyncio.get_running_loop().create_future(), 0.01)
