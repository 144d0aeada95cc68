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
from typing import Any, ClassVar
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
from flows.running import Runs
from flows.trials import Trial

_LET_END_SECONDS = 0.5
# Each run that is taken up takes a dozen requests: all at once would make the first wait for the last.
_TAKEN_AT_ONCE = 6
_LOOK_AGAIN_SECONDS = 0.5
_QUICK_RUNS = 16
_LOOKS_PER_LEASE = 8
_PAGE = 200


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
        self._runs = Runs(tell=self.tell, ended=self._end)
        self._taken = Admission(lanes)
        self._taking = asyncio.Semaphore(_TAKEN_AT_ONCE)
        self._flows = DeployedFlows()
        self._is_due = asyncio.Event()
        self._trial = Trial(leases, ended=self._is_due.set)
        self._looks_again_at = 0.0
        self._is_stopping = False
        self._handing_back: asyncio.Task[bool] | None = None
        self._are_all_told = True

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
        ear = Ear(self.work_pool.id, self._is_due.set, partial(self._runs.interrupt, ending=Ending.CANCELLED))
        for service in (ear.listen, self._submit_when_due, self._leases.keep, self._reap):
            self.work_beside(service)

    async def teardown(self, *exc_info: Any) -> None:  # noqa: ANN401  # Prefect's
        """End, and forget Redis. What still works is handed back first: whoever fails has not done that."""
        try:
            await self.hand_back_all()
        finally:
            await self._close(*exc_info)

    async def _close(self, *exc_info: Any) -> None:  # noqa: ANN401  # Prefect's
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
            if self._taken.is_only_taken(flow_run.id):
                self.free_place(flow_run.id)
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
        """Begin a flow run here. It goes on beside: what Prefect's worker holds of a run that it waits for is 30 kB."""
        identifier = f"{self.name}:{flow_run.id}"
        flow = await self._flows.flow_of(flow_run, self.client)
        handover.take_up(str(flow_run.id), is_fresh=partial(self._leases.is_fresh, flow_run.id))
        engine = InProcessEngine(flow=flow, flow_run=flow_run, parameters=dict(flow_run.parameters))
        engine.is_ours = partial(self._leases.is_ours, flow_run.id)
        self._taken.begin(flow_run.id)
        self._runs.begin(flow_run.id, engine, name=identifier)
        if task_status is not None:
            task_status.started(identifier)
        self._trial.watch(flow_run.id, lambda: engine.has_begun)
        return InProcessResult(identifier=identifier, status_code=0)

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
        if not self._runs.interrupt(UUID(infrastructure_pid.rpartition(":")[2]), Ending.CANCELLED):
            raise InfrastructureNotFound(infrastructure_pid)

    async def hand_back_all(self) -> bool:
        """Stop taking runs and give back those that work: another worker goes on, their GPU jobs continue.

        Before, runs may go on to their end for as long as the settings let them drain.

        Returns:
            Whether all were given back in time; another worker finds the others when their leases are over.
        """
        # Once, whoever asks: a worker may fail while it is being stopped.
        if self._handing_back is None:
            self._is_stopping = True
            self._handing_back = asyncio.create_task(self._hand_back_all())
        return await asyncio.shield(self._handing_back)

    async def _hand_back_all(self) -> bool:
        # A run that is writing down its end would be taken up again for nothing: it may finish.
        if not await self._taken.emptied(within=max(self.settings.drain_seconds, _LET_END_SECONDS)):
            self._runs.hand_back()
            await self._taken.emptied(within=self.settings.hand_back_seconds)
        return not self._taken and self._are_all_told

    def is_at_work(self, run_id: UUID) -> bool:
        """Tell whether a run is at work here."""
        return run_id in self._runs

    def _fence(self, run_id: UUID) -> None:
        """Another worker has taken the run while this one slept: nothing more is written or stopped here."""
        if self._runs.interrupt(run_id, Ending.FENCED):
            self.log.warning("Run %s is another worker's now.", run_id)

    async def _confirm(self, run_ids: Collection[UUID]) -> set[UUID]:
        asked = list(run_ids)
        pages = [FlowRunFilterId(any_=asked[first : first + _PAGE]) for first in range(0, len(asked), _PAGE)]
        found = [await self.client.read_flow_runs(flow_run_filter=FlowRunFilter(id=page)) for page in pages]
        return {run.id for page in found for run in page if self._taken.is_as_left(run)}

    async def _end(self, run_id: UUID, is_told: bool) -> None:  # noqa: FBT001  # as it is called
        handover.let_go(str(run_id))
        self.free_place(run_id)
        self._are_all_told &= is_told
        # Nobody may take it up before what was sent last has arrived, or never will: then its lease ends by itself.
        await self._let_go(run_id, drops_lease=is_told)
        # There is room for another one.
        self._is_due.set()

    async def _let_go(self, run_id: UUID, *, drops_lease: bool = True) -> None:
        self._trial.end(run_id)
        if run_id not in self._taken:
            return
        try:
            if drops_lease:
                await self._leases.drop(run_id)
            else:
                self._leases.leave(run_id)
        finally:
            self._taken.let_go(run_id)

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
        running = self._runs.ids()
        if not running:
            return
        found = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                id=FlowRunFilterId(any_=running),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING])),
            )
        )
        for run in found:
            self._runs.interrupt(run.id, Ending.CANCELLED)


async def _logged(worker: InProcessWorker, look: Awaitable[object]) -> object:
    try:
        return await look
    except Exception as error:  # noqa: BLE001  # the next look tries again
        worker.log.warning("Runs could not be looked up (%s).", type(error).__name__)
        return None
