"""Prefect server, Redis, bucket and RunPod are away for a minute, each from a run of its own: it waits and goes on.

Four stacks side by side, so that the minute passes once for all of them.
"""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType

from deployments.local.services import ServiceName
from deployments.local.stack import Stack, StackSettings
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.storage import ArtifactStore
from tests.chaos.auditing import spending_of
from tests.chaos.jobs import upload
from tests.runpod.plane import comes_true
from tests.runs.orchestra import Orchestra
from tests.simulation.clients import gpu_workers, orchestra_of, store_of
from tests.simulation.options import own_options

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

AWAY_SECONDS = 60.0
# Each of the two stages; it ends while the service is away.
GPU_SECONDS = 5.0
# From the return of the service to the end of the run: the longest pauses of all that waits, one after the other.
REST_SECONDS = 150.0
SERVICES = (
    ServiceName.PREFECT_SERVER,
    ServiceName.VALKEY,
    ServiceName.OBJECT_STORE,
    ServiceName.CONTROL_PLANE,
)
TASKS = ["assemble", "face_swap", "ingest", "lip_sync", "publish"]


@dataclass(frozen=True)
class Site:
    """A stack with an orchestrator worker, and the service that it will miss."""

    stack: Stack
    missed: ServiceName
    orchestra: Orchestra
    store: ArtifactStore
    keys: dict[str, Any]


Absence = Callable[[Site], AbstractAsyncContextManager[None]]


def gone(site: Site) -> AbstractAsyncContextManager[None]:
    """Nothing listens: whoever asks is told so at once."""
    return site.stack.away(site.missed)


@asynccontextmanager
async def frozen(site: Site) -> AsyncIterator[None]:
    """Connections are taken, and nothing is answered: whoever asks has to find out."""
    pid = site.stack.pids()[site.missed]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _site(missed: ServiceName, folder: Path) -> AsyncIterator[Site]:
    settings = StackSettings(
        # Directly under the temporary directory, for root's Postgres.
        data_directory=Path(tempfile.mkdtemp(prefix="lipswap-test-")),
        parts=frozenset({ServiceName.ORCHESTRATOR}),
        preferred_ports={},
        wishes={"LIPSWAP_QUALITY_ENABLED": "false", "LIPSWAP_CPU_PROCESSES": "1"},
        gpu_workers=gpu_workers(seconds=GPU_SECONDS),
        discard=True,
    )
    async with Stack(settings) as stack, orchestra_of(stack.addresses) as orchestra:
        store = store_of(stack.addresses)
        yield Site(stack, missed, orchestra, store, await asyncio.to_thread(upload, store, folder))


@pytest.fixture(scope="module")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Site]]:
    async with AsyncExitStack() as stacks:
        folder = tmp_path_factory.mktemp("clips")
        entering = [stacks.enter_async_context(_site(missed, folder)) for missed in SERVICES]
        yield list(await asyncio.gather(*entering))


@pytest.mark.parametrize("absence", [gone, frozen])
async def test_a_run_waits_for_a_minute_and_goes_on(sites: list[Site], absence: Absence) -> None:
    outcomes = await asyncio.gather(*(_through(site, absence) for site in sites), return_exceptions=True)
    failed = {site.missed.value: outcome for site, outcome in zip(sites, outcomes, strict=True) if outcome}
    assert not failed


async def _through(site: Site, absence: Absence) -> None:
    """Let a run of two stages miss its service in the middle of the first one."""
    orchestra = site.orchestra
    before = await asyncio.to_thread(spending_of, site.store)
    task_id = await orchestra.send(site.keys | own_options())
    await orchestra.until(task_id, _waits_for_gpu)
    async with absence(site):
        await asyncio.sleep(AWAY_SECONDS)
    ended = await orchestra.ended(task_id, seconds=REST_SECONDS)
    assert ended.state_type is StateType.COMPLETED, ended.state
    assert ended.run_count == 1, "its worker was taken for dead"

    after = await asyncio.to_thread(spending_of, site.store)
    assert not after.unnamed
    assert after.jobs == before.jobs + 2
    if site.missed is not ServiceName.CONTROL_PLANE:
        # The local control plane takes its GPU workers with it; nothing else makes one work twice.
        assert after.executions == before.executions + 2
    assert await asyncio.to_thread(site.store.head, f"outputs/{task_id}/result.mp4") is not None
    # The worker has come through, too: what it does from now on is heard and seen as before.
    again = str(await orchestra.send(site.keys | own_options()))
    assert (await orchestra.ended(again)).state_type is StateType.COMPLETED
    assert await orchestra.job_store.read(again) is not None

    async def seen() -> bool:
        runs = await orchestra.prefect.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[(await orchestra.flow_run(again)).id]))
        )
        done = sorted(run.name.rpartition("-")[0] for run in runs if run.state_type is StateType.COMPLETED)
        return done == TASKS

    await comes_true(seen, what="all tasks of the next run are seen in Prefect")


def _waits_for_gpu(record: TaskRecord) -> bool:
    return record.details.get("wav2lip_status") == "IN_PROGRESS"
