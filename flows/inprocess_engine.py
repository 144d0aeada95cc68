"""Everything of Prefect that is overridden, so that many runs share one event loop. Pinned to one version.

Prefect's engine expects a process per run: it starts two threads with a loop and a websocket for each, and takes
every interruption for a crash. Its worker takes every run that is due. tests/runs/test_engine_overrides.py fails when
a new Prefect changes what is used.
"""

import asyncio
import random
import ssl
import time
import types
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from logging import Logger
from typing import Any, Self
from uuid import UUID

import httpx
import prefect.client.orchestration
from anyio import CancelScope
from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, WorkPool
from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.states import AwaitingRetry
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

# The release whose internals were read; pyproject pins the same.
PREFECT_VERSION = "3.8.8"

# A server that is away is waited for this long, and asked about once a second.
_OUTAGE_SECONDS = 600.0
# What the server answers while its database is away is the same as for an error of its own, which does not pass.
_SERVER_ERROR_SECONDS = 90.0
_PAUSE_SECONDS = (0.5, 1.5)
_UNAVAILABLE: frozenset[int] = frozenset(
    {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}
)


class Ending(Enum):
    """Why a run that works is interrupted."""

    CANCELLED = auto()
    HANDED_BACK = auto()
    FENCED = auto()


class InProcessEngine(AsyncFlowRunEngine[..., Any]):
    """Runs an async flow as one task among others."""

    ending: Ending | None = None
    is_ours: Callable[[], Awaitable[bool]] | None = None

    async def work(self) -> None:
        """Run the flow to its end; its state is with the server then."""
        async with self.start():
            while self.is_running():
                async with self.run_context():
                    await self.call_flow_fn()  # type: ignore[unused-coroutine]  # its annotation says too much

    @property
    def has_begun(self) -> bool:
        """Tell whether the server has let this engine start the run."""
        return bool(self.flow_run and self.flow_run.state and self.flow_run.state.is_running())

    def has_told_its_state(self, work: asyncio.Task[None]) -> bool:
        """Tell, when its `work` has ended, whether the server knows how the run ended; else it has crashed."""
        error = None if work.cancelled() else work.exception()
        if self.ending is not None or error is None or isinstance(error, Abort | Pause):
            return True
        return bool(self.flow_run and self.flow_run.state and self.flow_run.state.is_final())

    @property
    def heartbeat_seconds(self) -> int | None:
        """No heartbeat thread per run: the worker's own heartbeat tells that the process lives."""
        return None

    @contextmanager
    def setup_flow_run_suspension_request(self) -> Generator[FlowRunSuspensionRequest, None, None]:
        """Without the observer's thread and websocket per run; runs of the pipeline are never suspended."""
        if self.flow_run is None:
            raise ValueError("a flow run is set before the engine starts")
        request = self._get_flow_run_suspension_request()
        with register_flow_run_suspension_request(self.flow_run.id, request):
            request.raise_if_requested()
            yield request

    async def set_state(self, state: State[Any], force: bool = False) -> State[Any]:  # noqa: FBT001, FBT002  # Prefect's
        """Write a state, unless another worker has taken the run: it alone says how the run stands."""
        if self.ending is Ending.FENCED or (self.is_ours is not None and not await self.is_ours()):
            self.ending = Ending.FENCED
            raise Abort("Another worker has taken this run.")
        return await super().set_state(state, force=force)

    async def handle_crash(self, exc: BaseException) -> None:
        """Tell a cancelled run and one that is handed back from one that crashed."""
        if not isinstance(exc, asyncio.CancelledError) or self.ending is None:
            await super().handle_crash(exc)
        elif self.ending is Ending.CANCELLED:
            await self.handle_cancellation(exc)
        elif self.ending is Ending.HANDED_BACK:
            with CancelScope(shield=True):
                await self.set_state(AwaitingRetry(message="Its worker stopped; another one goes on."), force=True)
                self._raised = exc  # type: ignore[assignment]  # as Prefect itself does


class InProcessResult(BaseWorkerResult):
    """How a run's task ended; its state is with the server already."""


class NothingToConfigure(BaseJobConfiguration):
    """What a run in this process is started with: nothing, so the server is not asked for deployment and flow."""

    @classmethod
    async def resolve_for_flow_run(  # noqa: PLR0913  # Prefect's own arguments
        cls,
        flow_run: FlowRun,
        *,
        client: PrefectClient,  # noqa: ARG003  # the same
        work_pool: WorkPool,  # noqa: ARG003  # the same
        worker_name: str,  # noqa: ARG003  # the same
        worker_id: UUID | None = None,  # noqa: ARG003  # the same
        deployment: DeploymentResponse | None = None,  # noqa: ARG003  # the same
    ) -> Self:
        """Return a configuration that knows whose it is, for the events that tell of it."""
        configuration = cls()
        # Prefect would add the environment of a process that is never started; each run would keep one.
        configuration._related_objects = {"flow-run": flow_run}
        return configuration


class ChoosyWorker(BaseWorker[NothingToConfigure, BaseVariables, InProcessResult], ABC):
    """A worker that decides itself which of the runs that are due it takes up, and when it is free for more.

    Prefect's keeps all this under private names; here they have public ones.
    """

    @abstractmethod
    def chosen(self, due: list[WorkerFlowRunResponse]) -> list[WorkerFlowRunResponse]:
        """Return which of the runs that are due are taken up now."""

    @abstractmethod
    async def take_up(self, flow_run: FlowRun) -> None:
        """Begin with a run that was chosen, by `submit_to_here`, or leave it."""

    @property
    def log(self) -> Logger:
        """Where the worker says what it does."""
        return self._logger  # type: ignore[return-value]  # an adapter, which has the same methods

    def work_beside(self, service: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let a service run until the worker ends.

        Raises:
            RuntimeError: The worker has not been set up.
        """
        if self._runs_task_group is None:
            raise RuntimeError("the worker has not been set up")
        self._runs_task_group.start_soon(service)

    async def submit_to_here(self, flow_run: FlowRun) -> None:
        """Let Prefect's worker propose the states of a run's beginning, and start it."""
        await super()._submit_run(flow_run)

    def leave(self, run_id: UUID) -> bool:
        """Leave a run to others, as Prefect's worker leaves one that it does not start; tells whether it had it."""
        if run_id not in self._submitting_flow_run_ids:
            return False
        self._release_limit_slot(run_id)
        self._submitting_flow_run_ids.discard(run_id)
        if self._cancelling_observer is not None:
            self._cancelling_observer.remove_in_flight_flow_run_id(run_id)
        return True

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        return self.chosen(await super()._get_scheduled_flow_runs())

    async def _submit_run(self, flow_run: FlowRun) -> None:
        await self.take_up(flow_run)

    def _emit_flow_run_submitted_event(self, configuration: BaseJobConfiguration) -> None:
        """Leave it: each run would keep an event as long as it runs, for one of its end beside that of its state."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Leave it: a write of 19 ms for each run (measured), of what the run's log says."""


def share_tls_context() -> None:
    """Let all Prefect clients of the process share one TLS context.

    Each client parses the file of authorities anew, 23 ms even for http://; a run makes several. Measured: 0.41 s of
    CPU per run without this, 0.12 s with it.
    """
    shared = types.ModuleType("ssl")
    shared.__dict__.update(ssl.__dict__)
    shared.__dict__["create_default_context"] = lru_cache(maxsize=8)(ssl.create_default_context)
    prefect.client.orchestration.ssl = shared  # type: ignore[attr-defined]  # a module stands in for a module


_Send = Callable[..., Awaitable[httpx.Response]]


def wait_for_server() -> None:
    """Let all Prefect clients of the process wait for a server that is away.

    Prefect's own retries wait twice as long each time, a minute in all, and a client that has never been connected
    does not try again: a run that begins during a restart of the server would crash.
    """
    genuine: _Send = PrefectHttpxAsyncClient._send_with_retry  # noqa: SLF001  # there is no setting for it

    async def send_with_retry(  # noqa: PLR0913, PLR0917  # Prefect's own arguments
        self: PrefectHttpxAsyncClient,
        request: httpx.Request,
        send: _Send,
        send_args: tuple[Any, ...],
        send_kwargs: dict[str, Any],
        retry_codes: set[int] = set(),  # noqa: B006  # never changed
        retry_exceptions: tuple[type[Exception], ...] = (),
    ) -> httpx.Response:
        async def patiently(*args: Any, **kwargs: Any) -> httpx.Response:  # noqa: ANN401  # httpx' own
            return await _sent(send, *args, **kwargs)

        return await genuine(self, request, patiently, send_args, send_kwargs, retry_codes, retry_exceptions)

    PrefectHttpxAsyncClient._send_with_retry = send_with_retry  # type: ignore[method-assign]  # noqa: SLF001  # the same


async def _sent(send: _Send, *args: Any, **kwargs: Any) -> httpx.Response:  # noqa: ANN401  # httpx' own
    began = time.monotonic()
    while True:
        try:
            response = await send(*args, **kwargs)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            # Nothing was sent, so everything may be sent again.
            if time.monotonic() - began > _OUTAGE_SECONDS:
                raise
        else:
            patience = _OUTAGE_SECONDS if response.status_code in _UNAVAILABLE else _SERVER_ERROR_SECONDS
            if not response.is_server_error or time.monotonic() - began > patience:
                return response
            await response.aclose()
        await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  # spreads clients, guards nothing
