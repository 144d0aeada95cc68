"""Runs whose worker is gone: killed without a chance to hand them back. Found by their leases, made due again.

Several workers may look at once: who takes the dead worker's lease decides alone, and looks at the run again before it
changes anything. What a run has been through is counted in its labels, which Prefect keeps.
"""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import AwaitingRetry, Cancelled, Failed

from flows.hooks import close_record, give_up
from flows.leasing import LeaseKeeper, is_dead

_OWNED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_PAGE = 200
# Deaths with others beside them that a run is forgiven before it must begin alone.
_DEATHS_BEFORE_TRIAL = 2
_BLAMES = 2
# Who is never alone when its worker dies is not blamed, but neither tried for ever.
_PATIENCE = 5

DEATHS = "lipswap.deaths"
BLAMES = "lipswap.blames"

_logger = logging.getLogger(__name__)


class Past(NamedTuple):
    """How often a run's worker has died, and how often while the run was the only one that had just begun."""

    deaths: int
    blames: int

    @classmethod
    def of(cls, run: FlowRun) -> "Past":
        """Read what a run's labels say."""
        return cls(_count(run, DEATHS), _count(run, BLAMES))

    @property
    def needs_trial(self) -> bool:
        """Tell whether the run must begin alone: it may be what kills its workers."""
        return self.deaths >= _DEATHS_BEFORE_TRIAL

    def is_hopeless(self, attempts: int) -> bool:
        """Tell whether the run is not begun any more."""
        return (self.deaths >= attempts and self.blames >= _BLAMES) or self.deaths >= attempts * _PATIENCE


@dataclass
class Reaper:
    """Makes the runs of dead workers due again.

    Attributes:
        client: Of Prefect.
        pool: Whose runs.
        keeper: This worker's leases.
        has: Tells whether a run is at work here.
        flow_of: Returns a run's flow, for the hooks of one that ends here.
        attempts: How many deaths of its workers a run may cost before it is given up, if it is to blame for them.
    """

    client: PrefectClient
    pool: str
    keeper: LeaseKeeper
    has: Callable[[FlowRun], bool]
    flow_of: Callable[[FlowRun], Any]
    attempts: int

    async def look(self) -> int:
        """Look once; returns how many runs are due again.

        Raises:
            LeaseError: Redis is away; nothing is known about any worker then.
        """
        leases = self.keeper.leases
        runs = [run async for run in owned_runs(self.client, self.pool) if not self.has(run)]
        holders = await leases.holders([str(run.id) for run in runs])
        count = 0
        for run in runs:
            holder = holders[str(run.id)]
            is_gone = is_dead(holder, leases.holder) if holder else self._is_forsaken(run)
            if not is_gone or not await leases.take(str(run.id), instead_of=holder):
                continue
            try:
                count += await self._adopt(run)
            finally:
                await leases.release([str(run.id)])
        return count

    def _is_forsaken(self, run: FlowRun) -> bool:
        """Tell whether a run without a lease has lost its worker."""
        if not self.keeper.trusts_missing or run.state is None:
            return False
        # A worker that could not reach Redis has taken it a moment ago, perhaps.
        return datetime.now(UTC) - run.state.timestamp > timedelta(seconds=self.keeper.leases.seconds / 2)

    async def _adopt(self, seen: FlowRun) -> bool:
        run = await self.client.read_flow_run(seen.id)
        if run.state is None or seen.state is None or run.state.id != seen.state.id or self.has(run):
            # It has moved on meanwhile.
            return False
        was_alone = await self.keeper.leases.end_trial(str(run.id))
        if run.state.type is StateType.CANCELLING:
            await self._end(run, Cancelled(message="Its worker is gone."))
            return False
        past = await self._count_death(run, was_alone=was_alone)
        if past.is_hopeless(self.attempts):
            _logger.error("Run %s is given up: %d of its workers have died.", run.name, past.deaths)
            await self._end(run, Failed(message=f"{past.deaths} of its workers have died."))
            return False
        again: State[Any] = AwaitingRetry(message="Its worker is gone; another one goes on.")
        await self.client.set_flow_run_state(run.id, again, force=False)
        return True

    async def _end(self, run: FlowRun, state: State[Any]) -> None:
        # The record first: if that fails, the next look finds the run again.
        if state.type is StateType.CANCELLED:
            flow: Flow[..., Any] = await self.flow_of(run)
            await close_record(flow, run, state)
        else:
            await give_up(run)
        await self.client.set_flow_run_state(run.id, state, force=False)

    async def _count_death(self, run: FlowRun, *, was_alone: bool) -> Past:
        past = Past.of(run)
        if run.state is None or run.state.type is not StateType.RUNNING:
            # It had not begun: whatever killed the worker, it was not this run.
            return past
        past = Past(past.deaths + 1, past.blames + was_alone)
        await self.client.update_flow_run_labels(run.id, {DEATHS: past.deaths, BLAMES: past.blames})
        return past


def _count(run: FlowRun, label: str) -> int:
    told = run.labels.get(label, 0)
    return told if isinstance(told, int) else 0


async def owned_runs(client: PrefectClient, pool: str) -> AsyncIterator[FlowRun]:
    """Yield every run of a pool that some worker should have."""
    offset = 0
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OWNED))),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
            limit=_PAGE,
            offset=offset,
        )
        for run in page:
            yield run
        if len(page) < _PAGE:
            return
        offset += _PAGE
