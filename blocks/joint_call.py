"""One call for all who ask meanwhile: a hundred runs that begin together read the same documents a few times."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

R = TypeVar("R")


class JointCall(Generic[R]):
    """Calls for whoever asks. No answer is older than its question: a call that is under way takes nobody along."""

    def __init__(self, call: Callable[[], Awaitable[R]]) -> None:
        self._call = call
        self._under_way: asyncio.Task[R] | None = None
        self._next: asyncio.Task[R] | None = None

    async def answer(self) -> R:
        """Return what the next call returns, or raise what it raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._under_way))
        # Others wait for the same answer.
        return await asyncio.shield(self._next)

    async def aclose(self) -> None:
        """Leave whoever still waits without an answer."""
        for task in filter(None, (self._under_way, self._next)):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _after(self, before: asyncio.Task[R] | None) -> R:
        if before is not None:
            await asyncio.wait([before])
        self._under_way, self._next = self._next, None
        return await self._call()
