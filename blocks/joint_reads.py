"""Reading together: whoever asks while a read is under way is asked for with all others in the next.

Redis costs a client as much for one key as for twenty, and under load there are always some who ask at once; a hundred
runs that begin together read the same documents a few times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class JointReads(Generic[K, R]):
    """Reads by key. No answer is older than its question: a read that is under way takes nobody along.

    Args:
        read: Returns what there is for each of some keys, in their order.
    """

    def __init__(self, read: Callable[[list[K]], Awaitable[Sequence[R]]]) -> None:
        self._read = read
        # A dict for its order.
        self._asked: dict[K, None] = {}
        self._under_way: asyncio.Task[dict[K, R]] | None = None
        self._next: asyncio.Task[dict[K, R]] | None = None

    async def get(self, key: K) -> R:
        """Return what the next read finds for a key, or raise what it raises."""
        if self._next is None:
            # In the context of one who waits for it: that of whoever asked earlier may be over by then.
            self._next = asyncio.create_task(self._after(self._under_way), name="joint reads")
        self._asked[key] = None
        # Others wait for the same answer.
        return (await asyncio.shield(self._next))[key]

    async def aclose(self) -> None:
        """Leave whoever still waits without an answer."""
        for task in filter(None, (self._under_way, self._next)):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _after(self, before: asyncio.Task[dict[K, R]] | None) -> dict[K, R]:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._under_way, self._next = self._next, None
        asked, self._asked = list(self._asked), {}
        return dict(zip(asked, await self._read(asked), strict=True))
