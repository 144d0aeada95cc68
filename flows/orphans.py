"""Runs whose worker is gone: killed without a chance to hand them back.

A run belongs to the worker that its `infrastructure_pid` names ("{worker}:{run}"). The label that Prefect writes
before a run starts is asked, too: the pid follows only after the start, so for a moment it names the last owner.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus

_OWNED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_OWNER_LABEL = "prefect.worker.name"
_PAGE = 200
# A worker that takes a run writes its name down well within this time.
_TAKING = timedelta(seconds=30)


def owners(run: FlowRun) -> frozenset[str]:
    """Return the workers that a run names as its owner; two while it changes hands, none when nobody has it yet."""
    named = ((run.infrastructure_pid or "").rpartition(":")[0], run.labels.get(_OWNER_LABEL))
    return frozenset(str(name) for name in named if name)


def is_gone(
    owner: str, *, me: str, hostname: str, workers: Mapping[str, WorkerStatus], is_alive: Callable[[int], bool]
) -> bool:
    """Tell whether the worker that owned a run has ended.

    Args:
        owner: Its name, "{hostname}-{pid}" (flows.serving).
        me: The name of the worker that asks, about a run that it does not have: a container that was started again
            has the name of its predecessor.
        hostname: The host of the worker that asks.
        workers: How the pool's workers are doing according to their heartbeats.
        is_alive: Whether a process of this host is alive. Here that alone decides: a heartbeat may be late, and a
            machine that was asleep has missed many.
    """
    if owner == me:
        return True
    host, _, pid = owner.rpartition("-")
    if host == hostname and pid.isdecimal():
        return not is_alive(int(pid))
    return workers.get(owner, WorkerStatus.OFFLINE) is WorkerStatus.OFFLINE


def is_orphan(run: FlowRun, *, now: datetime, has_gone: Callable[[str], bool]) -> bool:
    """Tell whether nobody works on a run that is pending, running or being cancelled."""
    if run.state is None:
        return False
    named = owners(run)
    if run.state.type is StateType.RUNNING:
        return bool(named) and all(map(has_gone, named))
    # Whoever is taking a pending run has not written its name down yet.
    return now - run.state.timestamp > _TAKING and all(map(has_gone, named))


def is_process_alive(pid: int) -> bool:
    """Tell whether this host has such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


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


async def workers_of(client: PrefectClient, pool: str) -> dict[str, WorkerStatus]:
    """Return how the workers of a pool are doing."""
    found: dict[str, WorkerStatus] = {}
    while True:
        page = await client.read_workers_for_work_pool(pool, offset=len(found), limit=_PAGE)
        found |= {worker.name: worker.status for worker in page}
        if len(page) < _PAGE:
            return found
