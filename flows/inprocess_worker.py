"""A Prefect worker type that runs async flows in its own event loop: no process per run, woken by events.

A run starts a fraction of a second after it was created, and hundreds of them that mostly wait for GPUs fit into one
process.
"""

import asyncio
import socket
from collections.abc import Awaitable
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import anyio.abc
from prefect import Flow
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.exceptions import Abort, InfrastructureNotFound, Pause
from prefect.flows import load_flow_from_entrypoint
from prefect.states import AwaitingRetry, Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.handover import hand_back, take_up
from flows.hooks import close_record
from flows.inprocess_engine import Ending, InProcessEngine
from flows.orphans import is_gone, is_orphan, is_process_alive, owned_runs, owners, workers_of

_CANCELLING = "prefect.flow-run.Cancelling"
# A run that waits for a retry is due like a scheduled one.
_DUE = ("prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry")
_RECONNECT_SECONDS = 1.0
_LET_END_SECONDS = 0.5
_HAND_BACK_SECONDS = 1.5


class InProcessResult(BaseWorkerResult):
    """How a run's task ended; its state is with the server already."""


class InProcessWorker(BaseWorker[BaseJobConfiguration, BaseVariables, InProcessResult]):
    """Runs every flow run of its pool as one task of the worker's event loop."""

    type = "lipswap-inprocess"
    job_configuration = BaseJobConfiguration
    job_configuration_variables = BaseVariables
    _display_name: ClassVar[str] = "Lipswap in-process"
    _description = "Runs async flows in the worker's own event loop."
    _documentation_url = "https://docs.prefect.io/v3/concepts/workers"
    _logo_url = "https://avatars.githubusercontent.com/u/39270919?s=200"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # Prefect's arguments pass through
        super().__init__(*args, **kwargs)
        self._running: dict[UUID, tuple[asyncio.Task[None], InProcessEngine]] = {}
        self._flows: dict[UUID, Flow[..., Any]] = {}
        self._is_due = asyncio.Event()
        self._is_stopping = False
        self._began = datetime.now(UTC)

    async def setup(self) -> None:
        """Start listening for runs that are due and runs that are cancelled."""
        await super().setup()
        if self._runs_task_group is not None:
            self._runs_task_group.start_soon(self._listen)
            self._runs_task_group.start_soon(self._submit_when_due)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Submit what is due; also what makes up for events that were missed and for workers that were killed."""
        if not self._is_stopping:
            await _logged(self, self._adopt_orphans())
        return await self._submit_due_runs()

    async def _submit_due_runs(self) -> list[FlowRun]:
        if self._is_stopping:
            return []
        await self._cancel_what_is_cancelling()
        return await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,  # noqa: ARG002  # nothing to configure in this process
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> InProcessResult:
        """Run a flow to its end, here."""
        identifier = f"{self.name}:{flow_run.id}"
        take_up(str(flow_run.id))
        engine = InProcessEngine(
            flow=await self._flow_of(flow_run), flow_run=flow_run, parameters=dict(flow_run.parameters)
        )
        task = asyncio.create_task(engine.work(), name=identifier)
        self._running[flow_run.id] = (task, engine)
        if task_status is not None:
            task_status.started(identifier)
        try:
            await asyncio.wait([task])
        finally:
            del self._running[flow_run.id]
        return InProcessResult(identifier=identifier, status_code=0 if _has_told_its_state(task, engine) else 1)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: BaseJobConfiguration,  # noqa: ARG002  # nothing to configure in this process
        grace_seconds: int = 30,  # noqa: ARG002  # a task is cancelled at once
    ) -> None:
        """Cancel a run of this worker.

        Raises:
            InfrastructureNotFound: The run is not here.
        """
        if not self._interrupt(UUID(infrastructure_pid.rpartition(":")[2]), Ending.CANCELLED):
            raise InfrastructureNotFound(infrastructure_pid)

    async def hand_back_all(self) -> None:
        """Stop taking runs and give back those that work: another worker goes on, their GPU jobs continue."""
        self._is_stopping = True
        tasks = [task for task, _ in self._running.values()]
        if tasks:
            # A run that is writing down its end would be taken up again for nothing: it may finish.
            await asyncio.wait(tasks, timeout=_LET_END_SECONDS)
        for run_id in tuple(self._running):
            hand_back(str(run_id))
            self._interrupt(run_id, Ending.HANDED_BACK)
        if tasks:
            await asyncio.wait(tasks, timeout=_HAND_BACK_SECONDS)

    def _interrupt(self, run_id: UUID, ending: Ending) -> bool:
        if run_id not in self._running:
            return False
        task, engine = self._running[run_id]
        if engine.ending is None:
            engine.ending = ending
            task.cancel()
        return True

    async def _flow_of(self, flow_run: FlowRun) -> Flow[..., Any]:
        """Load a deployment's flow once: another version of the code is another process."""
        if flow_run.deployment_id is None:
            raise ValueError("runs of this pool are created from a deployment")
        if flow_run.deployment_id not in self._flows:
            deployment = await self.client.read_deployment(flow_run.deployment_id)
            if deployment.entrypoint is None:
                raise ValueError("the deployment names no flow")
            self._flows[flow_run.deployment_id] = load_flow_from_entrypoint(
                deployment.entrypoint, use_placeholder_flow=False
            )
        return self._flows[flow_run.deployment_id]

    async def _listen(self) -> None:
        """Hear of due and cancelled runs at once; what is missed while disconnected is found by the regular poll."""
        while not self._is_stopping:
            try:
                async with get_events_subscriber(filter=self._event_filter()) as events:
                    self._is_due.set()
                    async for event in events:
                        self._hear(event)
            except Exception as error:  # noqa: BLE001  # whatever breaks the stream, polling goes on meanwhile
                self._logger.warning("The event stream broke off (%s); connecting again.", type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _event_filter(self) -> EventFilter:
        return EventFilter(
            event=EventNameFilter(name=[*_DUE, _CANCELLING]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{self.work_pool.id}"]),
        )

    def _hear(self, event: Event) -> None:
        if event.event == _CANCELLING:
            self._interrupt(UUID(event.resource.id.rpartition(".")[2]), Ending.CANCELLED)
        else:
            self._is_due.set()

    async def _submit_when_due(self) -> None:
        while True:
            await self._is_due.wait()
            # Cleared before looking: an event that comes meanwhile makes us look again.
            self._is_due.clear()
            await _logged(self, self._submit_due_runs())

    async def _adopt_orphans(self) -> None:
        """Make runs of workers that were killed due again; their GPU jobs and finished tasks are found by the next."""
        found = [run async for run in owned_runs(self.client, self.work_pool.name) if not self._has(run)]
        if not found:
            return
        has_gone = partial(
            is_gone,
            me=self.name,
            hostname=socket.gethostname(),
            workers=await workers_of(self.client, self.work_pool.name),
            is_alive=is_process_alive,
        )
        for run in found:
            if is_orphan(run, now=datetime.now(UTC), has_gone=has_gone):
                await _logged(self, self._adopt(run))

    def _has(self, run: FlowRun) -> bool:
        if run.id in self._running or run.id in self._submitting_flow_run_ids:
            return True
        if run.state is None or run.state.type is not StateType.RUNNING:
            return False
        # One that began here has ended a moment ago, and its last state is on its way.
        return self.name in owners(run) and run.state.timestamp > self._began

    async def _adopt(self, seen: FlowRun) -> None:
        run = await self.client.read_flow_run(seen.id)
        if self._is_stopping or run.state is None or seen.state is None or run.state.id != seen.state.id:
            # Another worker was faster.
            return
        if run.state.type is StateType.CANCELLING:
            cancelled: State[Any] = Cancelled(message="Its worker is gone.")
            # The record first: if that fails, the next poll finds the run again.
            await close_record(await self._flow_of(run), run, cancelled)
            await self.client.set_flow_run_state(run.id, cancelled, force=False)
        else:
            again: State[Any] = AwaitingRetry(message="Its worker is gone; another one goes on.")
            await self.client.set_flow_run_state(run.id, again, force=False)

    async def _cancel_what_is_cancelling(self) -> None:
        if not self._running:
            return
        found = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=list(self._running)),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING])),
            )
        )
        for run in found:
            self._interrupt(run.id, Ending.CANCELLED)


def _has_told_its_state(task: asyncio.Task[None], engine: InProcessEngine) -> bool:
    """Tell whether the server knows how the run ended; otherwise the worker reports a crash."""
    error = None if task.cancelled() else task.exception()
    if engine.ending is not None or error is None or isinstance(error, Abort | Pause):
        return True
    return bool(engine.flow_run and engine.flow_run.state and engine.flow_run.state.is_final())


async def _logged(worker: InProcessWorker, look: Awaitable[object]) -> None:
    try:
        await look
    except Exception as error:  # noqa: BLE001  # the regular poll tries again
        worker._logger.warning("Due runs could not be looked up (%s).", type(error).__name__)  # noqa: SLF001  # its own log
