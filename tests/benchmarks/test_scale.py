"""Three hundred runs at once on one orchestrator and one Prefect server; their GPU seconds are simulated."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.objects import FlowRun, StateType

from deployments.local.services import ServiceName
from tests.chaos.auditing import runs_of
from tests.chaos.jobs import send, upload
from tests.runs.orchestra import Orchestra
from tests.servers import RunningStack, running_stack
from tests.simulation.clients import gpu_workers, orchestra_of, store_of
from tests.simulation.options import options_of

pytestmark = [pytest.mark.scale, pytest.mark.timeout(1800)]

JOBS = 300
STAGE_SECONDS = 90.0  # two stages: 180 s of GPU time for each job
FIRST_SECONDS, LAST_SECONDS = 3.0, 120.0
GROWTH_MB = 60.0
END_SECONDS = 900.0
SENT_AT_ONCE = 12
LOOK_SECONDS = 1.0

_MEASURED = (ServiceName.PREFECT_SERVER, ServiceName.ORCHESTRATOR, ServiceName.POSTGRES)


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    workers = gpu_workers(seconds=STAGE_SECONDS, concurrency=JOBS + 16)
    wishes = {"LIPSWAP_MAX_RUNS": str(JOBS + 16), "LIPSWAP_QUALITY_ENABLED": "false", "RUNPOD_POLL_INTERVAL": "5"}
    with running_stack(ServiceName.ORCHESTRATOR, gpu_workers=workers, wishes=wishes) as stack:
        yield stack


class Meter:
    """CPU seconds of services, and memory and threads of the orchestrator."""

    def __init__(self, stack: RunningStack) -> None:
        self._processes = {
            service: psutil.Process(pid) for service, pid in stack.pids().items() if service in _MEASURED
        }
        self._began = {service: _cpu_seconds(process) for service, process in self._processes.items()}
        self._orchestrator = self._processes[ServiceName.ORCHESTRATOR]
        self._memory_mb, self._threads = self._now()
        self.most_memory_mb, self.most_threads = self._memory_mb, self._threads

    def look(self) -> None:
        memory_mb, threads = self._now()
        self.most_memory_mb = max(self.most_memory_mb, memory_mb)
        self.most_threads = max(self.most_threads, threads)

    @property
    def growth_mb(self) -> float:
        return self.most_memory_mb - self._memory_mb

    @property
    def more_threads(self) -> int:
        return self.most_threads - self._threads

    def cpu_seconds(self) -> dict[ServiceName, float]:
        return {service: _cpu_seconds(process) - self._began[service] for service, process in self._processes.items()}

    def _now(self) -> tuple[float, int]:
        return self._orchestrator.memory_full_info().pss / 1e6, self._orchestrator.num_threads()


def _cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            # Postgres ends a process with each connection: what ended ones took stands with their parent.
            total += times.user + times.system + times.children_user + times.children_system
    return total


async def _until(
    orchestra: Orchestra, meter: Meter, is_there: Callable[[list[FlowRun]], bool], wanted: set[str]
) -> list[FlowRun]:
    deadline = time.monotonic() + END_SECONDS
    while True:
        runs = [run for run in await runs_of(orchestra.prefect) if str(run.id) in wanted]
        meter.look()
        if is_there(runs):
            return runs
        assert time.monotonic() < deadline, "they do not end"
        await asyncio.sleep(LOOK_SECONDS)


async def test_three_hundred_runs_work_at_the_same_moment_on_one_orchestrator(
    stack: RunningStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = upload(store_of(stack.addresses), tmp_path)
    async with orchestra_of(stack.addresses) as orchestra:
        # The inputs are taken in once; the worker has run something. Its threads for the bucket are there then.
        first = [
            await send(orchestra.prefect, keys | options_of(JOBS + number), f"warm-{number}") for number in range(8)
        ]
        await asyncio.gather(*(orchestra.ended(task_id, seconds=END_SECONDS) for task_id in first))
        meter = Meter(stack)
        gate = asyncio.Semaphore(SENT_AT_ONCE)
        began = time.time()

        async def create(number: int) -> str:
            async with gate:
                return await send(orchestra.prefect, keys | options_of(number), f"run-{number}")

        wanted = set(await asyncio.gather(*(create(number) for number in range(JOBS))))
        sent_seconds = time.time() - began
        runs = await _until(
            orchestra, meter, lambda runs: len(runs) == JOBS and all(run.start_time for run in runs), wanted
        )
        until_started = meter.cpu_seconds()
        at_once = sum(run.state_type is StateType.RUNNING for run in runs)
        starts = sorted(run.start_time.timestamp() - began for run in runs if run.start_time)
        runs = await _until(
            orchestra, meter, lambda runs: all(run.state and run.state.is_final() for run in runs), wanted
        )
        completed = sum(run.state_type is StateType.COMPLETED for run in runs)
    lines = [
        f"{JOBS} runs of 2 x {STAGE_SECONDS:g} s GPU time, created within {sent_seconds:.1f} s:",
        f"  first starts after {starts[0]:.1f} s, median {starts[JOBS // 2]:.1f} s, last {starts[-1]:.1f} s",
        f"  {at_once} at work at the same moment, {completed} completed in {time.time() - began:.0f} s",
        f"  orchestrator: +{meter.growth_mb:.0f} MB to {meter.most_memory_mb:.0f} MB, {meter.more_threads:+d} threads",
        "  CPU seconds per run until all had started / until the end: "
        + ", ".join(
            f"{service} {until_started[service] / JOBS:.2f} / {total / JOBS:.2f}"
            for service, total in meter.cpu_seconds().items()
        ),
    ]
    with capsys.disabled():
        print("\n" + "\n".join(lines))  # noqa: T201 - a benchmark's figures are its output
    assert completed == at_once == JOBS
    assert starts[0] <= FIRST_SECONDS
    assert starts[-1] <= LAST_SECONDS
    assert meter.growth_mb <= GROWTH_MB
    assert meter.more_threads <= 2  # the pool of one more server, not one per run
