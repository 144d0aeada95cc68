"""Connection pools shared by all blocks of one event loop.

Blocks are loaded anew for every run, so that operators can edit them; their connections are not opened anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol, TypeVar, cast
from weakref import WeakKeyDictionary


class _Closable(Protocol):
    def aclose(self) -> Awaitable[None]: ...


Client = TypeVar("Client", bound=_Closable)

# A pool belongs to the loop in which it was opened; a second loop of the same process gets its own.
_open: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Closable]]" = WeakKeyDictionary()


def shared(address: Hashable, connect: Callable[[], Client]) -> Client:
    """Return the running loop's client for `address`, made by `connect` when there is none yet."""
    clients = _open.setdefault(asyncio.get_running_loop(), {})
    if address not in clients:
        clients[address] = connect()
    return cast("Client", clients[address])


async def close_shared() -> None:
    """Close what the running loop has opened; a process does this before it ends."""
    clients = _open.pop(asyncio.get_running_loop(), {})
    # What was opened later may stand on what was opened before.
    for client in reversed(clients.values()):
        await client.aclose()
