"""What orchestration adds to the seconds that GPUs work, on our worker and on a stock one: one job at a time."""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.schemas.actions import DeploymentUpdate

from blocks.settings import WorkerType
from deployments.local.services import ServiceName
from flows.pools import PROCESS_POOL
from flows.request import DEPLOYMENT
from gpu_tasks.contract.records import Status
from tests.chaos.jobs import upload
from tests.runs.orchestra import Orchestra, Worker, deploy
from tests.servers import RunningStack, running_stack, variables_of
from tests.simulation.clients import gpu_workers, orchestra_of, store_of
from tests.simulation.options import options_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

GPU_SECONDS = 1.0
OUR_JOBS, STOCK_JOBS = 20, 5
P50_SECONDS, P95_SECONDS = 1.0, 2.5
TIMES_LOWER = 5.0


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    servers = (ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.CONTROL_PLANE)
    with running_stack(*servers, gpu_workers=gpu_workers(seconds=GPU_SECONDS)) as stack:
        yield stack


def _environment(stack: RunningStack, folder: Path) -> dict[str, str]:
    return variables_of(stack.addresses) | {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "RUNPOD_POLL_INTERVAL": "0.5",
        "LIPSWAP_ALLOW_DRAFT": "true",
        # What the frames look like is no part of orchestration, and the simulated ones show nothing.
        "LIPSWAP_QUALITY_ENABLED": "false",
    }


async def _overheads(orchestra: Orchestra, keys: dict[str, object], numbers: range) -> list[float]:
    """Wall seconds minus the handlers' seconds, one job after the other."""
    overheads = []
    for number in numbers:
        began = time.monotonic()
        record = await orchestra.run(keys | options_of(number))
        assert record.status is Status.COMPLETED, record.error
        overheads.append(time.monotonic() - began - record.cost.gpu_seconds)
        # Idle: what the last run leaves to be written is not the next one's.
        await orchestra.ended(record.task_id)
    return overheads


def _told(name: str, overheads: list[float]) -> str:
    p95 = statistics.quantiles(overheads, n=20, method="inclusive")[-1]
    return (
        f"{name}: overhead p50 {statistics.median(overheads):.2f} s, p95 {p95:.2f} s, max {max(overheads):.2f} s,"
        f" {len(overheads)} jobs of 2 x {GPU_SECONDS:g} s"
    )


async def test_our_worker_adds_at_most_a_second_and_a_fifth_of_what_a_stock_worker_adds(
    stack: RunningStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = _environment(stack, tmp_path)
    keys = upload(store_of(stack.addresses), tmp_path)
    async with orchestra_of(stack.addresses) as orchestra:
        overheads: dict[WorkerType, list[float]] = {}
        commands = {
            WorkerType.INPROCESS: ("flows.worker",),
            WorkerType.PROCESS: ("prefect", "worker", "start", "--type", "process", "--pool", PROCESS_POOL),
        }
        numbers = {WorkerType.INPROCESS: range(OUR_JOBS), WorkerType.PROCESS: range(OUR_JOBS, OUR_JOBS + STOCK_JOBS)}
        for kind, command in commands.items():
            variables = environment | {"LIPSWAP_WORKER_TYPE": kind.value}
            deploy(variables)
            if kind is WorkerType.PROCESS:
                # Default settings: what our deployment does for a stock worker is not part of them.
                deployment = await orchestra.prefect.read_deployment_by_name(DEPLOYMENT)
                await orchestra.prefect.update_deployment(deployment.id, DeploymentUpdate(job_variables={}))
            folder = tmp_path / kind.value
            folder.mkdir()
            worker = Worker.start(variables, folder, [sys.executable, "-m", *command])
            try:
                # The first run of a worker takes the inputs in; the others find them.
                await orchestra.run(keys | options_of(1000 + OUR_JOBS + len(overheads)))
                overheads[kind] = await _overheads(orchestra, keys, numbers[kind])
            finally:
                worker.stop()
    ours, stock = overheads[WorkerType.INPROCESS], overheads[WorkerType.PROCESS]
    ratio = statistics.median(stock) / statistics.median(ours)
    with capsys.disabled():
        print(f"\n{_told('in-process worker', ours)}\n{_told('stock process worker', stock)}")  # noqa: T201 - a benchmark's figures are its output
        print(f"ratio of the medians: {ratio:.1f}")  # noqa: T201 - the same
    assert statistics.median(ours) <= P50_SECONDS
    assert statistics.quantiles(ours, n=20, method="inclusive")[-1] <= P95_SECONDS
    assert ratio >= TIMES_LOWER
