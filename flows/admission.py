"""Which of the runs that are due are taken up now: two lanes, and runs that may kill their worker one at a time."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from prefect.client.schemas.objects import FlowRun

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
