"""The whole local stack as one async context: entered, everything works; left, nothing runs."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from blocks.settings import WorkerType
from deployments.local.addresses import StackAddresses, stack_addresses
from deployments.local.catalogue import services_of
from deployments.local.credentials import load_or_create
from deployments.local.errors import StackError
from deployments.local.gpu_endpoints import GpuWorkers
from deployments.local.layout import PREFERRED_PORTS, DataDirectory, Reservations, choose_ports
from deployments.local.leftovers import (
    ChildRecords,
    end_processes,
    marked_processes,
    only_supervisor,
    recorded_processes,
)
from deployments.local.postgres_place import PostgresPlace, choose_place
from deployments.local.services import Happening, OnEvent, ServiceName, StackEvent, with_dependencies
from deployments.local.supervisor import Supervisor

_logger = logging.getLogger(__name__)

EVERYTHING = frozenset(ServiceName)
SERVERS = frozenset({ServiceName.POSTGRES, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.PREFECT_SERVER})


class StackSettings(BaseModel):
    """What one stack is told.

    Attributes:
        data_directory: Everything it keeps; made if missing.
        parts: The services to run; what they stand on is added.
        worker_type: How the orchestrator runs flows.
        preferred_ports: Wanted ports for `api`, `prefect` and `page`; a busy one is replaced by a free one.
        protect_api: Whether the API asks for the generated secret.
        protect_prefect: Whether Prefect's API and page ask for the generated login.
        wishes: Variables for our own processes that the person who starts it has set, as `wishes_in` finds them.
        gpu_workers: What runs behind the endpoints.
        discard: Remove the data directory, and what root's Postgres keeps outside of it, after the stop.
    """

    model_config = ConfigDict(frozen=True)

    data_directory: Path
    parts: frozenset[ServiceName] = EVERYTHING
    worker_type: WorkerType = WorkerType.INPROCESS
    preferred_ports: Mapping[str, int] = Field(default_factory=lambda: PREFERRED_PORTS)
    protect_api: bool = False
    protect_prefect: bool = False
    wishes: Mapping[str, str] = Field(default_factory=dict)
    gpu_workers: GpuWorkers = Field(default_factory=GpuWorkers)
    discard: bool = False


def log_event(event: StackEvent) -> None:
    """Write one report to the log; the default listener."""
    level = logging.WARNING if event.what in {Happening.DIED, Happening.GAVE_UP, Happening.KILLED} else logging.INFO
    took = "" if event.seconds is None else f" in {event.seconds:.1f} s"
    _logger.log(level, "%s %s%s %s", event.service or "stack", event.what, took, event.detail)


class Stack:
    """An async context. Inside it every service works, and is started again when it dies.

    Raises on entering:
        StackAlreadyRunning: another process runs a stack in this data directory.
        ServiceFailed: a service did not start; all others have been stopped.
        StackError: the data directory, credentials or ports cannot be used.
    """

    def __init__(self, settings: StackSettings, on_event: OnEvent = log_event) -> None:
        self._settings = settings
        self._on_event = on_event
        self._directory = DataDirectory(settings.data_directory)
        self._exit = AsyncExitStack()
        self._supervisor: Supervisor | None = None
        self._addresses: StackAddresses | None = None

    async def __aenter__(self) -> Self:
        settings, directory = self._settings, self._directory
        async with AsyncExitStack() as exits:
            directory.create()
            exits.enter_context(only_supervisor(directory.lock))
            records = ChildRecords(directory.children)
            ended = await asyncio.to_thread(_end_leftovers, directory, records)
            if ended:
                self._tell(f"Ended {ended} processes that an earlier, killed stack had left.")
            credentials = load_or_create(directory.credentials)
            ports, notices = choose_ports(
                directory.ports, settings.preferred_ports, exits.enter_context(Reservations()).take
            )
            for notice in notices:
                self._tell(notice)
            place = await asyncio.to_thread(choose_place, directory.of(ServiceName.POSTGRES))
            if settings.discard:
                exits.callback(_discard, directory, place)
            services = services_of(
                directory,
                ports,
                credentials,
                place,
                settings.worker_type,
                gpu_workers=settings.gpu_workers,
                protect_api=settings.protect_api,
                protect_prefect=settings.protect_prefect,
                wishes=settings.wishes,
            )
            chosen = with_dependencies(settings.parts, services)
            supervisor = Supervisor(chosen, directory, records, self._on_event)
            self._supervisor = await exits.enter_async_context(supervisor)
            self._addresses = stack_addresses(ports, credentials)
            self._exit = exits.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exit.__aexit__(kind, error, trace)

    @property
    def addresses(self) -> StackAddresses:
        if self._addresses is None:
            raise RuntimeError("the stack has not been entered")
        return self._addresses

    @property
    def logs_directory(self) -> Path:
        return self._directory.logs

    @property
    def credentials_path(self) -> Path:
        return self._directory.credentials

    def pids(self) -> dict[ServiceName, int]:
        """Return the pid of every program that runs now."""
        return self._running.pids()

    async def kill(self, service: ServiceName) -> int:
        """End one program as `kill -9` would and return its pid; the supervisor starts it again."""
        pid = self.pids()[service]
        self._running.keeper(service).kill()
        return pid

    @asynccontextmanager
    async def away(self, service: ServiceName) -> AsyncIterator[None]:
        """End one program as `kill -9` would, and let the supervisor start it again when the block is left."""
        keeper = self._running.keeper(service)
        with keeper.held_back():
            keeper.kill()
            yield
        await self.until_ready(service)

    async def restart(self, service: ServiceName, *, seconds: float = 90.0) -> None:
        """Stop one program in an orderly way and wait until it works again."""
        keeper = self._running.keeper(service)
        await keeper.restart(keeper.service.stop_seconds)
        await self.until_ready(service, seconds=seconds)

    async def until_ready(self, service: ServiceName, *, seconds: float = 90.0) -> None:
        """Wait until the service answers.

        Raises:
            TimeoutError: it does not within `seconds`.
        """
        async with asyncio.timeout(seconds):
            await self._running.keeper(service).ready.wait()

    def is_ready(self, service: ServiceName) -> bool:
        """Tell whether the service answers now."""
        return self._running.keeper(service).ready.is_set()

    async def until_gave_up(self) -> StackError:
        """Wait, for as long as the stack runs, until a service has died too often; return the error that names it."""
        return await self._running.until_gave_up()

    @property
    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise RuntimeError("the stack has not been entered")
        return self._supervisor

    def _tell(self, notice: str) -> None:
        self._on_event(StackEvent(what=Happening.NOTICE, detail=notice))


def _end_leftovers(directory: DataDirectory, records: ChildRecords) -> int:
    return end_processes([*recorded_processes(records.left()), *marked_processes(directory.mark(""))])


def _discard(directory: DataDirectory, place: PostgresPlace) -> None:
    for path in (place.outside, directory.root):
        if path:
            shutil.rmtree(path, ignore_errors=True)
