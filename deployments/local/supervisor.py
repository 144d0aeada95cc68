"""Starts services in the order of their dependencies, keeps them running, stops them in reverse."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from deployments.local.errors import ServiceGaveUp, StackError
from deployments.local.keeper import Keeper
from deployments.local.layout import DataDirectory
from deployments.local.leftovers import ChildRecords
from deployments.local.services import OnEvent, Service, ServiceName, stop_layers

STOP_SECONDS = 9.0
"""All services together; the promise to the outside is 10 s."""

_LAST_MOMENT_SECONDS = 0.2


class Supervisor:
    """An async context: entered, every service works; left, none of their processes is there any more."""

    def __init__(
        self, services: tuple[Service, ...], directory: DataDirectory, records: ChildRecords, on_event: OnEvent
    ) -> None:
        self._layers = stop_layers(services)
        self._keepers = {s.name: Keeper(s, directory, records, on_event) for s in services}
        self._keeping: list[asyncio.Task[None]] = []
        self._gave_up: asyncio.Future[ServiceGaveUp] | None = None

    async def __aenter__(self) -> Self:
        self._gave_up = asyncio.get_running_loop().create_future()
        starting = {name: asyncio.create_task(self._start(keeper)) for name, keeper in self._keepers.items()}
        try:
            await _all_or_first_error(starting.values())
        except BaseException:
            await _to_the_end(self._abandon(starting.values()))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await _to_the_end(self._stop())

    def keeper(self, name: ServiceName) -> Keeper:
        return self._keepers[name]

    def pids(self) -> dict[ServiceName, int]:
        """Return the pid of every program that runs now."""
        children = {name: keeper.child for name, keeper in self._keepers.items()}
        return {name: child.pid for name, child in children.items() if child and child.exit_code is None}

    async def until_gave_up(self) -> StackError:
        """Wait until a service has died too often, and return the error that names it."""
        if self._gave_up is None:
            raise RuntimeError("the supervisor has not been entered")
        return await asyncio.shield(self._gave_up)

    async def _start(self, keeper: Keeper) -> None:
        needed = [self._keepers[name] for name in keeper.service.depends_on]
        await asyncio.gather(*(one.ready.wait() for one in needed))
        await keeper.start()
        self._keeping.append(asyncio.create_task(self._keep(keeper)))

    async def _keep(self, keeper: Keeper) -> None:
        try:
            await keeper.keep()
        except ServiceGaveUp as error:
            if self._gave_up and not self._gave_up.done():
                self._gave_up.set_result(error)

    async def _abandon(self, starting: Iterable[asyncio.Task[None]]) -> None:
        await _cancelled(starting)
        await self._stop()

    async def _stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        await _cancelled(self._keeping)
        for layer in self._layers:
            left = max(deadline - time.monotonic(), _LAST_MOMENT_SECONDS)
            keepers = [self._keepers[name] for name in layer]
            await asyncio.gather(*(one.stop(min(left, one.service.stop_seconds)) for one in keepers))


async def _all_or_first_error(tasks: Iterable[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def _to_the_end(stopping: Coroutine[None, None, None]) -> None:
    """Wait for it whatever happens: a second Ctrl-C cancels the waiting, not the stopping."""
    task = asyncio.create_task(stopping)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    chosen = list(tasks)
    for task in chosen:
        task.cancel()
    await asyncio.gather(*chosen, return_exceptions=True)
