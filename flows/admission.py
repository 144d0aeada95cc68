"""Which of the runs that are due are taken up now: two lanes, and runs that may kill their worker one at a time."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType

from flows.orphans import Past
from flows.pools import QUICK_QUEUE


class Lanes(NamedTuple):
    """How many runs are at work, or may be: small ones never wait behind whole videos."""

    long: int
    quick: int


class _Due(Protocol):
    @property
    def flow_run(self) -> FlowRun: ...


Due = TypeVar("Due", bound=_Due)


def is_quick(run: FlowRun) -> bool:
    """Tell whether a run takes a moment only: a verdict, a preview."""
    return run.work_queue_name == QUICK_QUEUE


def admitted(due: Sequence[Due], *, room: Lanes, is_trial_free: bool) -> list[Due]:
    """Return what is taken up now, quick ones first; at most one that must begin alone, if none of them does."""
    left = {True: room.quick, False: room.long}
    chosen = []
    for one in sorted(due, key=lambda one: not is_quick(one.flow_run)):
        run = one.flow_run
        needs_trial = Past.of(run).needs_trial
        if left[is_quick(run)] <= 0 or (needs_trial and not is_trial_free):
            continue
        left[is_quick(run)] -= 1
        is_trial_free = is_trial_free and not needs_trial
        chosen.append(one)
    return chosen


class _Taken(NamedTuple):
    is_quick: bool
    start: int
    has_begun: bool = False


class Admission:
    """The runs that a worker has taken up, by their lane and how often they will have been started then.

    Args:
        lanes: How many may be at work at once.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._taken: dict[UUID, _Taken] = {}
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._taken

    def __len__(self) -> int:
        return len(self._taken)

    def chosen(self, due: Sequence[Due], *, is_trial_free: bool) -> list[Due]:
        """Return what there is room for and is not here already."""
        new = [one for one in due if one.flow_run.id not in self]
        quick = sum(taken.is_quick for taken in self._taken.values())
        long = len(self._taken) - quick
        room = Lanes(long=self._lanes.long - long, quick=self._lanes.quick - quick)
        return admitted(new, room=room, is_trial_free=is_trial_free)

    def take(self, run: FlowRun) -> None:
        """Count a run in."""
        self._taken[run.id] = _Taken(is_quick(run), run.run_count + 1)
        self._is_empty.clear()

    def begin(self, run_id: UUID) -> None:
        """Note that a run is at work: whoever has taken it up need not let it go."""
        self._taken[run_id] = self._taken[run_id]._replace(has_begun=True)

    def is_only_taken(self, run_id: UUID) -> bool:
        """Tell whether a run has been taken up and has not begun."""
        return run_id in self._taken and not self._taken[run_id].has_begun

    def let_go(self, run_id: UUID) -> None:
        """Count a run out."""
        self._taken.pop(run_id, None)
        if not self._taken:
            self._is_empty.set()

    async def emptied(self, *, within: float) -> bool:
        """Wait until none is taken up any more; False when the time, in seconds, is over first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._taken:
                    await self._is_empty.wait()
        return not self._taken

    def is_as_left(self, run: FlowRun) -> bool:
        """Tell whether nobody has started a run since it was taken up here, except this worker itself."""
        taken = self._taken.get(run.id)
        if taken is None:
            return False
        if run.state_type in {StateType.RUNNING, StateType.CANCELLING}:
            return run.run_count <= taken.start
        # What was read may be older than what this worker has done meanwhile: only the count tells.
        return run.state_type in {StateType.PENDING, StateType.SCHEDULED} and run.run_count < taken.start
