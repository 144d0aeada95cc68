"""Reading keys together: whoever asks while Redis is being asked is asked for with all others in the next command.

A command costs the client as much for one key as for twenty, and under load there are always some who ask at once.
"""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis


class JointReads:
    """Gets texts by key. No answer is older than its question: a command that is under way takes nobody along."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._asked: dict[str, asyncio.Future[bytes | str | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def get(self, key: str) -> bytes | str | None:
        """Return what stands under a key, None when there is nothing.

        Raises:
            RedisError: Redis does not answer.
            OSError: The same.
        """
        answer = self._asked.get(key)
        if answer is None:
            answer = self._asked[key] = asyncio.get_running_loop().create_future()
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="joint reads")
        # Others may wait for the same answer.
        return await asyncio.shield(answer)

    async def aclose(self) -> None:
        """Leave whoever still waits without an answer."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                await self._answer(asked)
        finally:
            self._reading = None
            for left in self._asked.values():
                left.cancel()

    async def _answer(self, asked: dict[str, asyncio.Future[bytes | str | None]]) -> None:
        try:
            found = await self._redis.mget(list(asked))
        except Exception as error:  # noqa: BLE001  # whatever it is, those who asked are told
            for answer in asked.values():
                answer.set_exception(error)
                # Whoever asked may have left.
                answer.exception()
            return
        except asyncio.CancelledError:
            for answer in asked.values():
                answer.cancel()
            raise
        for answer, text in zip(asked.values(), found, strict=True):
            answer.set_result(text)
