"""A Prefect worker type that runs async flows in its own event loop: no process per run, woken by events.

A run starts a fraction of a second after it was created, and hundreds of them that mostly wait for GPUs fit into one
process.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import anyio.abc
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import InfrastructureNotFound
from prefect.workers.base import BaseVariables

from blocks.leases import Leases
from blocks.settings import OrchestratorSettings
from flows import handover
from flows.admission import Admission, Lanes, is_quick
from flows.deployed import DeployedFlows
from flows.inprocess_engine import ChoosyWorker, Ending, InProcessEngine, InProcessResult, NothingToConfigure
from flows.leasing import LeaseKeeper, this_process
from flows.listening import Ear
from flows.orphans import Reaper
from flows.trials import Trial

_LET_END_SECONDS = 0.5
_HAND_BACK_SECONDS = 1.5
# Each run that is taken up takes a dozen requests: all at once would make the first wait for the last.
_TAKEN_AT_ONCE = 6
_LOOK_AGAIN_SECONDS = 0.5
_QUICK_RUNS = 16
_LOOKS_PER_LEASE = 8
_PAGE = 200


class _AtWork(NamedTuple):
    task: asyncio.Task[None]
    engine: InProcessEngine


class InProcessWorker(ChoosyWorker):
    """Runs every flow run of its pool as one task of the worker's event loop.

    Args:
        limit: How many runs may be at work at once, beside the quick ones; by default what the settings say.
        settings: Of this process; read here where Prefect's command line makes the worker, which knows none of them.
    """

    type = "lipswap-inprocess"
    job_configuration = NothingToConfigure
    job_configuration_variables = BaseVariables
    _display_name: ClassVar[str] = "Lipswap in-process"
    _description = "Runs async flows in the worker's own event loop."
    _documentation_url = "https://docs.prefect.io/v3/concepts/workers"
    _logo_url = "https://avatars.githubusercontent.com/u/39270919?s=200"

    def __init__(
        self,
        work_pool_name: str,
        *,
        name: str | None = None,
        limit: int | None = None,
        settings: OrchestratorSettings | None = None,
        **prefects: Any,  # noqa: ANN401  # Prefect's own
    ) -> None:
        self.settings = settings or OrchestratorSettings()
        name = name or f"{socket.gethostname()}-{os.getpid()}"
        lanes = Lanes(long=limit or self.settings.max_runs, quick=_QUICK_RUNS)
        super().__init__(work_pool_name, name=name, limit=sum(lanes), **prefects)
        leases = Leases.of(self.settings, this_process(name))
        self._leases = LeaseKeeper(leases, confirm=self._confirm, lost=self._fence)
        self._running: dict[UUID, _AtWork] = {}
        self._taken = Admission(lanes)
        self._taking = asyncio.Semaphore(_TAKEN_AT_ONCE)
        self._flows = DeployedFlows()
        self._is_due = asyncio.Event()
        self._trial = Trial(leases, ended=self._is_due.set)
        self._looks_again_at = 0.0
        self._is_stopping = False

    async def start(
        self,
        run_once: bool = False,  # noqa: FBT001, FBT002  # Prefect's
        with_healthcheck: bool = False,  # noqa: FBT001, FBT002  # the same
        printer: Callable[..., None] = print,
    ) -> None:
        """Work until cancelled; on the main thread, where Prefect's engine would take the signals, beside it."""
        work = partial(super().start, run_once, with_healthcheck, printer)
        if threading.current_thread() is not threading.main_thread():
            await work()
            return
        from flows.serving import work_beside_signals  # noqa: PLC0415  # seconds, for Prefect's server in vain

        await work_beside_signals(self, work)

    async def setup(self) -> None:
        """Start listening for runs that are due and runs that are cancelled, keeping leases and looking for orphans."""
        await super().setup()
        ear = Ear(self.work_pool.id, self._is_due.set, partial(self._interrupt, ending=Ending.CANCELLED))
        for service in (ear.listen, self._submit_when_due, self._leases.keep, self._reap):
            self.work_beside(service)

    async def teardown(self, *exc_info: Any) -> None:  # noqa: ANN401  # Prefect's
        """End, and forget Redis."""
        try:
            await super().teardown(*exc_info)
        finally:
            await self._leases.leases.close()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Submit what is due; the regular call makes up for events that were missed."""
        if self._is_stopping:
            return []
        await self._cancel_what_is_cancelling()
        return await super().get_and_submit_flow_runs()

    def chosen(self, due: list[WorkerFlowRunResponse]) -> list[WorkerFlowRunResponse]:
        """Return what there is room for and is not here already."""
        return self._taken.chosen(due, is_trial_free=self._trial.is_free)

    async def take_up(self, flow_run: FlowRun) -> None:
        """Take a run's lease, then let Prefect's worker propose its states and start it."""
        self._taken.take(flow_run)
        try:
            # Small runs do not wait for the crowd.
            if is_quick(flow_run):
                await self._take_and_submit(flow_run)
            else:
                async with self._taking:
                    await self._take_and_submit(flow_run)
        except Exception as error:  # noqa: BLE001  # one run that cannot be taken must not end the worker
            self.log.warning("Run %s could not be taken up (%s).", flow_run.name, type(error).__name__)
        finally:
            if flow_run.id not in self._running:
                await self._let_go(flow_run.id)

    async def _take_and_submit(self, flow_run: FlowRun) -> None:
        try:
            is_ours = not self._is_stopping and await self._leases.take(flow_run.id)
            if is_ours and await self._trial.admits(flow_run):
                # Here, where a run that cannot have it yet is left, and not after it is said to run.
                await self._flows.freshen()
                await self.submit_to_here(flow_run)
        finally:
            loop = asyncio.get_running_loop()
            # One look for all that were left: each of them would be another one for as long as it is left again.
            if self.leave(flow_run.id) and self._looks_again_at <= loop.time():
                self._looks_again_at = loop.time() + _LOOK_AGAIN_SECONDS
                loop.call_later(_LOOK_AGAIN_SECONDS, self._is_due.set)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: NothingToConfigure,  # noqa: ARG002  # nothing to configure in this process
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> InProcessResult:
        """Run a flow to its end, here."""
        identifier = f"{self.name}:{flow_run.id}"
        flow = await self._flows.flow_of(flow_run, self.client)
        handover.take_up(str(flow_run.id), is_fresh=partial(self._leases.is_fresh, flow_run.id))
        engine = InProcessEngine(flow=flow, flow_run=flow_run, parameters=dict(flow_run.parameters))
        engine.is_ours = partial(self._leases.is_ours, flow_run.id)
        task = asyncio.create_task(engine.work(), name=identifier)
        self._running[flow_run.id] = _AtWork(task, engine)
        if task_status is not None:
            task_status.started(identifier)
        self._trial.watch(flow_run.id, lambda: engine.has_begun)
        try:
            await asyncio.wait([task])
        finally:
            # A worker that stops does not wait for a run that still writes down its end: it stays this worker's.
            if task.done():
                del self._running[flow_run.id]
                handover.let_go(str(flow_run.id))
                await self._let_go(flow_run.id)
                # There is room for another one.
                self._is_due.set()
        return InProcessResult(identifier=identifier, status_code=0 if engine.has_told_its_state(task) else 1)

    async def kill_infrastructure(
        self,
        infrastructure_pid: str,
        configuration: NothingToConfigure,  # noqa: ARG002  # nothing to configure in this process
        grace_seconds: int = 30,  # noqa: ARG002  # a task is cancelled at once
    ) -> None:
        """Cancel a run of this worker.

        Raises:
            InfrastructureNotFound: The run is not here.
        """
        if not self._interrupt(UUID(infrastructure_pid.rpartition(":")[2]), Ending.CANCELLED):
            raise InfrastructureNotFound(infrastructure_pid)

    async def hand_back_all(self, *, drain_seconds: float = 0.0) -> None:
        """Stop taking runs and give back those that work: another worker goes on, their GPU jobs continue.

        Args:
            drain_seconds: How long runs may go on to their end before.
        """
        self._is_stopping = True
        running = dict(self._running)
        tasks = [at_work.task for at_work in running.values()]
        if tasks:
            # A run that is writing down its end would be taken up again for nothing: it may finish.
            await asyncio.wait(tasks, timeout=max(drain_seconds, _LET_END_SECONDS))
        for run_id in tuple(self._running):
            handover.hand_back(str(run_id))
            self._interrupt(run_id, Ending.HANDED_BACK)
        if tasks:
            await asyncio.wait(tasks, timeout=_HAND_BACK_SECONDS)
        # Here, because whoever waits for these tasks ends with the worker: until its lease is over nobody has the run.
        ended = [run_id for run_id, at_work in running.items() if at_work.task.done()]
        await self._leases.drop(*ended)

    def _interrupt(self, run_id: UUID, ending: Ending) -> bool:
        if run_id not in self._running:
            return False
        at_work = self._running[run_id]
        if at_work.engine.ending is None:
            at_work.engine.ending = ending
            at_work.task.cancel()
        return True

    def _fence(self, run_id: UUID) -> None:
        """Another worker has taken the run while this one slept: nothing more is written or stopped here."""
        if run_id in self._running:
            self.log.warning("Run %s is another worker's now.", run_id)
            handover.hand_back(str(run_id))
            self._interrupt(run_id, Ending.FENCED)

    async def _confirm(self, run_ids: Collection[UUID]) -> set[UUID]:
        asked = list(run_ids)
        pages = [FlowRunFilterId(any_=asked[first : first + _PAGE]) for first in range(0, len(asked), _PAGE)]
        found = [await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=page)) for page in pages]
        return {run.id for page in found for run in page if self._taken.is_as_left(run)}

    async def _let_go(self, run_id: UUID) -> None:
        self._trial.end(run_id)
        if self._taken.let_go(run_id):
            await self._leases.drop(run_id)

    async def _submit_when_due(self) -> None:
        while True:
            await self._is_due.wait()
            # Cleared before looking: an event that comes meanwhile makes us look again.
            self._is_due.clear()
            await _logged(self, self.get_and_submit_flow_runs())

    async def _reap(self) -> None:
        """Make runs of dead workers due again; their GPU jobs and finished tasks are found by whoever goes on."""
        reaper = Reaper(
            client=self.client,
            pool=self.work_pool.name,
            keeper=self._leases,
            has=lambda run: run.id in self._taken,
            flow_of=lambda run: self._flows.flow_of(run, self.client),
            attempts=self.settings.run_attempts,
        )
        while not self._is_stopping:
            if await _logged(self, reaper.look()):
                self._is_due.set()
            await asyncio.sleep(self._leases.leases.seconds / _LOOKS_PER_LEASE)

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


async def _logged(worker: InProcessWorker, look: Awaitable[object]) -> object:
    try:
        return await look
    except Exception as error:  # noqa: BLE001  # the next look tries again
        worker.log.warning("Runs could not be looked up (%s).", type(error).__name__)
        return None
