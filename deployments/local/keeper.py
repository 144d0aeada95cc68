"""Keeps one service running: starts it, waits until it works, starts it again when it dies, stops it."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from deployments.local.errors import NotReady, ServiceFailed, ServiceGaveUp
from deployments.local.layout import DataDirectory
from deployments.local.leftovers import ChildRecords, end_processes, marked_processes
from deployments.local.processes import Child
from deployments.local.services import Happening, OnEvent, Service, StackEvent

_PROBE_PAUSE_SECONDS = 0.05
_PROBE_SECONDS = 10.0
_MAX_DEATHS = 5
_DEATH_WINDOW_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 5.0


class Keeper:
    """One service and its present process. `ready` is set while the service answers."""

    def __init__(self, service: Service, directory: DataDirectory, records: ChildRecords, on_event: OnEvent) -> None:
        self.service = service
        self.child: Child | None = None
        self.ready = asyncio.Event()
        self._mark = directory.mark(service.name)
        self._records = records
        self._on_event = on_event
        self._deaths: deque[float] = deque()
        self._settled = False
        self._expected_exit = False
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._last_reason = "never asked"

    async def start(self) -> None:
        """Start the program and return when the service works.

        Raises:
            ServiceFailed: it ended first, or its deadline passed; the process is gone then.
        """
        self._tell(Happening.STARTING)
        began = time.monotonic()
        service = self.service
        if service.prepare:
            await service.prepare()
        child = await Child.spawn(service.program, service=service.name, mark=self._mark)
        self.child = child
        self._records.add(child.record)
        try:
            async with asyncio.timeout(service.start_seconds):
                await (self._until_done(child) if service.one_shot else self._until_ready(child))
        except TimeoutError:
            await self._end(child, seconds=service.stop_seconds)
            reason = f"not ready within {service.start_seconds:.0f} s ({self._last_reason})"
            raise self._failed(reason) from None
        except BaseException:
            await self._end(child, seconds=service.stop_seconds)
            raise
        self.ready.set()
        self._tell(Happening.READY, seconds=time.monotonic() - began)

    async def keep(self) -> None:
        """Start the service again whenever it dies; runs until cancelled.

        Raises:
            ServiceGaveUp: it died too often in a short time.
        """
        while True:
            child = self.child
            if child is None or self.service.one_shot:
                return
            code = await child.wait()
            self.ready.clear()
            await self._forget(child)
            if self._expected_exit:
                self._expected_exit = False
            else:
                self._tell(Happening.DIED, detail=_exit_words(code))
                await asyncio.sleep(self._count_death())
            await self._may_start.wait()
            await self._start_again()

    def kill(self) -> None:
        """End the program as `kill -9` would; `keep` starts it again."""
        if self.child:
            self.ready.clear()
            self.child.kill()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Start the program no more while the block lasts; one that runs goes on."""
        self._may_start.clear()
        try:
            yield
        finally:
            self._may_start.set()

    async def restart(self, seconds: float) -> None:
        """Stop the program as at the end of the stack; `keep` starts it again."""
        if self.child and self.child.exit_code is None:
            self.ready.clear()
            self._expected_exit = True
            await self.child.stop(seconds)

    async def stop(self, seconds: float) -> None:
        """End the program and what it started."""
        began = time.monotonic()
        self.ready.clear()
        if self.child:
            gently = await self._end(self.child, seconds)
            if not self.service.one_shot:
                what = Happening.STOPPED if gently else Happening.KILLED
                self._tell(what, seconds=time.monotonic() - began)

    async def _start_again(self) -> None:
        while True:
            try:
                return await self.start()
            except ServiceFailed as failure:
                self._tell(Happening.DIED, detail=failure.reason)
                await asyncio.sleep(self._count_death())

    async def _until_done(self, child: Child) -> None:
        code = await child.wait()
        if code != 0:
            raise self._failed(f"it ended with {_exit_words(code)}")

    async def _until_ready(self, child: Child) -> None:
        while not await self._works():
            if child.exit_code is not None:
                raise self._failed(f"it ended with {_exit_words(child.exit_code)}")
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)
        if self.service.probe and child.exit_code is not None:
            # Somebody else has answered in its place.
            raise self._failed(f"it ended with {_exit_words(child.exit_code)}")

    async def _works(self) -> bool:
        service = self.service
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                if service.probe:
                    await service.probe()
                if service.settle and not self._settled:
                    await service.settle()
                    self._settled = True
        except NotReady as reason:
            self._last_reason = str(reason)
        except TimeoutError:
            self._last_reason = f"no answer within {_PROBE_SECONDS:.0f} s"
        else:
            return True
        return False

    async def _end(self, child: Child, seconds: float) -> bool:
        gently = await child.stop(seconds)
        await self._forget(child)
        return gently

    async def _forget(self, child: Child) -> None:
        child.kill_group()
        # What the process started in sessions of its own (GPU workers, flow runs) must not outlive it.
        await asyncio.to_thread(lambda: end_processes(marked_processes(self._mark)))
        self._records.remove(child.record)

    def _count_death(self) -> float:
        """Return the pause before the next start."""
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - _DEATH_WINDOW_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) > _MAX_DEATHS:
            self._tell(Happening.GAVE_UP, detail=f"died {len(self._deaths)} times")
            raise ServiceGaveUp(
                self.service.name, len(self._deaths), _DEATH_WINDOW_SECONDS, self.service.program.log_path
            )
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** (len(self._deaths) - 1), _MAX_PAUSE_SECONDS)

    def _failed(self, reason: str) -> ServiceFailed:
        return ServiceFailed(self.service.name, reason, self.service.program.log_path)

    def _tell(self, what: Happening, *, seconds: float | None = None, detail: str = "") -> None:
        with suppress(Exception):  # a listener's error must not end a service
            self._on_event(StackEvent(what=what, service=self.service.name, seconds=seconds, detail=detail))


def _exit_words(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
