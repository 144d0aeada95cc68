"""All of Prefect's engine and worker that is overridden, so that many runs share one event loop. Pinned to one version.

Prefect's engine expects a process per run: it starts two threads with a loop and a websocket for each, and takes
every interruption for a crash. Its worker takes every run that is due. tests/runs/test_engine_overrides.py fails when
a new Prefect changes what is used.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AsyncExitStack, contextmanager
from enum import Enum, auto
from logging import Logger
from typing import Any, Self
from uuid import UUID

import httpx
from anyio import CancelScope
from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, WorkPool
from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse
from prefect.context import AsyncClientContext
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.states import AwaitingRetry, Crashed
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows import handover

# The release whose internals were read; pyproject pins the same.
PREFECT_VERSION = "3.8.8"

# Of the one client of a worker and all its runs; Prefect's own sixteen are for a client per run.
_CONNECTIONS = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=25)


class Ending(Enum):
    """Why a run that works is interrupted."""

    CANCELLED = auto()
    HANDED_BACK = auto()
    FENCED = auto()


class InProcessEngine(AsyncFlowRunEngine[..., Any]):
    """Runs an async flow as one task among others."""

    ending: Ending | None = None
    told: State[Any] | None = None
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

    def interrupt(self, ending: Ending) -> None:
        """Say why the run is about to be cancelled; GPU jobs of a run that goes on elsewhere are left alone."""
        self.ending = ending
        if self.flow_run is not None and ending in {Ending.HANDED_BACK, Ending.FENCED}:
            handover.hand_back(str(self.flow_run.id))

    def untold(self, error: BaseException) -> State[None] | None:
        """Return what the server is still to be told when `work` has ended with an error; None when it knows.

        Prefect's engine tells nothing of what happens in its first requests. A run that was cancelled then is left:
        whoever looks for runs without a worker ends it, and its GPU jobs.
        """
        if self.told is not None and (self.told.is_final() or self.told.is_scheduled() or self.told.is_cancelling()):
            return None
        if self.ending is Ending.HANDED_BACK:
            return _handed_back()
        # Without a reason only a process that ends cancels: its runs are found by another one.
        if self.ending is not None or isinstance(error, Abort | Pause | asyncio.CancelledError):
            return None
        return Crashed(message=f"Its engine ended by {type(error).__name__}.")

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
        self.told = await super().set_state(state, force=force)
        return self.told

    async def handle_crash(self, exc: BaseException) -> None:
        """Tell a cancelled run and one that is handed back from one that crashed."""
        if not isinstance(exc, asyncio.CancelledError) or self.ending is None:
            await super().handle_crash(exc)
        elif self.ending is Ending.CANCELLED:
            await self.handle_cancellation(exc)
        elif self.ending is Ending.HANDED_BACK:
            with CancelScope(shield=True):
                # Not by force: somebody may have cancelled it meanwhile.
                await self.set_state(_handed_back())
                self._raised = exc  # type: ignore[assignment]  # as Prefect itself does


def _handed_back() -> State[None]:
    return AwaitingRetry(message="Its worker stopped; another one goes on.")


class InProcessResult(BaseWorkerResult):
    """That a run has begun; its engine tells the server how it ends."""


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

    async def setup(self) -> None:
        """Prepare to work, with one client for the worker and all its runs: one for each is 20 kB of it (measured).

        Raises:
            RuntimeError: The server is of another major release.
        """
        clients = AsyncClientContext(httpx_settings={"limits": _CONNECTIONS})
        # `get_client()` gives it to whoever asks for a client with these settings: to all who ask for none.
        clients._httpx_settings = None  # noqa: SLF001  # there is no other way to say it
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(clients.client)
            # Its own way in would raise where the server cannot be asked yet.
            opened.enter_context(clients)
            await super().setup()
            if self._work_pool is not None:
                await clients.client.raise_for_api_version_mismatch_once()
            self._clients = opened.pop_all()

    async def teardown(self, *exc_info: Any) -> None:  # noqa: ANN401  # Prefect's
        """End, and close the client."""
        try:
            await super().teardown(*exc_info)
        finally:
            await self._clients.aclose()

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

        scope = CancelScope()
        # Cancelled in Prefect's teardown.
        self._scheduled_task_scopes.add(scope)

        async def until_teardown() -> None:
            with scope:
                await service()

        self._runs_task_group.start_soon(until_teardown)

    async def submit_to_here(self, flow_run: FlowRun) -> None:
        """Let Prefect's worker propose the states of a run's beginning, and start it."""
        await super()._submit_run(flow_run)

    async def tell(self, engine: InProcessEngine, state: State[None]) -> bool:
        """Tell the server how a run stands, which its engine could not; False when it could not be told."""
        flow_run, is_ours = engine.flow_run, engine.is_ours
        if flow_run is None or (is_ours is not None and not await is_ours()):
            return True
        try:
            # The flow's own last words first, as everywhere.
            await engine.call_hooks(state)
            # What the server refuses it knows better.
            await self.client.set_flow_run_state(flow_run.id, state)
        except Exception as error:  # noqa: BLE001  # whatever it is, its lease ends and another worker finds it
            self.log.warning("It could not be told how run %s stands (%s).", flow_run.name, type(error).__name__)
            return False
        return True

    @abstractmethod
    def is_at_work(self, run_id: UUID) -> bool:
        """Tell whether a run is at work here."""

    def free_place(self, run_id: UUID) -> None:
        """Let another run take the place of one that has ended."""
        super()._release_limit_slot(run_id)

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        # To Prefect's worker a run that has begun is over.
        if not self.is_at_work(flow_run_id):
            self.free_place(flow_run_id)

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
