"""The simulator's prediction of throughput against the local stack: within a fifth."""

import heapq
import statistics
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from api_shim.client import Client
from blocks.settings import OrchestratorSettings
from deployments.capacity.loads import HostLoad, Load, StageLoad
from deployments.capacity.simulation import simulate
from deployments.fleet.declaration import read_declaration
from deployments.requests import Inputs, upload_all
from flows.accounts import ExecutionEntry
from flows.ledger import read_accounts
from flows.request import PipelineRequest
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord
from gpu_tasks.storage import connect
from tests.servers import RunningStack, running_stack

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SAMPLES = Path(__file__).parents[2] / "samples"
JOBS = 10
# The first runs find workers that have loaded nothing yet; they are nobody's measure.
WARMING = range(4)
# The same cores serve everything: what a job takes depends on how many run, so it is learnt from as many.
LEARNT = range(4, 4 + JOBS)
PREDICTED = range(4 + JOBS, 4 + 2 * JOBS)
RUN_SECONDS = 900.0
TOLERANCE = 0.2
PROCESSES: int = OrchestratorSettings.model_fields["cpu_processes"].default
# What a run does in the CPU processes: from when it enters the first stage until it enters the second.
VISITS = (
    (RecordStage.INGEST, RecordStage.WAV2LIP),
    (RecordStage.ASSEMBLE, RecordStage.PUBLISH),
    (RecordStage.PUBLISH, RecordStage.COMPLETED),
)


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with running_stack() as running:
        yield running


def test_the_throughput_of_the_local_stack_is_predicted(
    stack: RunningStack, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(stack.addresses.api_url) as client:
        _run(client, WARMING)
        learnt = _run(client, LEARNT)
        stages = _stages(at_seconds=_job_seconds(stack, learnt))
        ingest, *after = _cpu_seconds(learnt)
        measured = _run(client, PREDICTED)

    began = min(record.created_at for record in measured)
    arrivals = [(record.created_at - began).total_seconds() for record in measured]
    host = HostLoad(processes=PROCESSES, before_seconds=(ingest,), after_seconds=tuple(after))
    # What a run spends in neither delays it alone: while it waits for Prefect, others use workers and processes.
    predicted = simulate(Load(jobs_per_day=JOBS, around_seconds=0), stages, host=host, arrivals=arrivals)
    seen = JOBS / (max(record.updated_at for record in measured) - began).total_seconds() * 3600
    with capsys.disabled():
        job_seconds = ", ".join(f"{stage.name} {stage.job_seconds:.1f} s" for stage in stages)
        print(  # noqa: T201  # a benchmark's figures are its output
            f"\n{JOBS} runs at once: predicted {predicted.jobs_per_hour:.0f} an hour, measured {seen:.0f} "
            f"({predicted.jobs_per_hour / seen - 1:+.0%}); a job takes {job_seconds}; of {PROCESSES} CPU processes one "
            f"for {ingest:.1f} s before and {sum(after):.1f} s after"
        )
    assert abs(predicted.jobs_per_hour / seen - 1) < TOLERANCE


def _run(client: Client, numbers: range) -> list[TaskRecord]:
    """Send runs at once, each another part of the sample, so that none is another's; return their final records."""
    files = Inputs(
        target=str(SAMPLES / "target.mp4"), audio=str(SAMPLES / "speech.wav"), sources=(str(SAMPLES / "source.jpg"),)
    )
    request = upload_all(client, files, {})
    parts = [{"trim": {"start": number * 0.04, "end": number * 0.04 + 1.0}} for number in numbers]
    tasks = [client.run(PipelineRequest.model_validate(request.model_dump() | part)) for part in parts]
    records = [client.wait(task.task_id, timeout=RUN_SECONDS) for task in tasks]
    assert {record.status for record in records} == {Status.COMPLETED}, [record.error for record in records]
    return records


def _entries(stack: RunningStack, tasks: set[str]) -> list[ExecutionEntry]:
    accounts = read_accounts(connect(stack.addresses.r2))
    return [entry for account in accounts for entry in account.executions if entry.task_id in tasks]


def _job_seconds(stack: RunningStack, records: list[TaskRecord]) -> dict[str, float]:
    """Seconds that a job keeps a worker of each stage, in the mean."""
    entries = _entries(stack, {record.task_id for record in records})
    return {
        stage: statistics.mean(entry.gpu_seconds for entry in entries if entry.stage == stage)
        for stage in (Stage.WAV2LIP, Stage.FACEFUSION)
    }


def _cpu_seconds(records: list[TaskRecord]) -> list[float]:
    """Seconds that a run keeps a CPU process busy at each of its visits, in the mean.

    Whoever comes first is served first: a visit begins when it is asked for and a process has become free, and ends
    when the run goes on.
    """
    began = min(record.created_at for record in records)
    asked = sorted(
        ((_entered(record, first) - began).total_seconds(), (_entered(record, then) - began).total_seconds(), place)
        for record in records
        for place, (first, then) in enumerate(VISITS)
    )
    busy: list[list[float]] = [[] for _ in VISITS]
    free = [0.0] * PROCESSES
    for wanted, ended, place in asked:
        freed = heapq.heappop(free)
        heapq.heappush(free, max(freed, ended))
        busy[place].append(max(0.0, ended - max(wanted, freed)))
    return [statistics.mean(seconds) for seconds in busy]


def _entered(record: TaskRecord, stage: RecordStage) -> datetime:
    return min(entry.timestamp for entry in record.progress if entry.stage is stage)


def _stages(at_seconds: dict[str, float]) -> list[StageLoad]:
    declaration = read_declaration()
    return [
        StageLoad(
            name=stage,
            job_seconds=at_seconds[stage],
            max_workers=declaration.of(stage).local.workers.max,
            min_workers=declaration.of(stage).local.workers.min,
            cold_seconds=0.0,
            idle_seconds=declaration.of(stage).local.idle_seconds,
        )
        for stage in (Stage.WAV2LIP, Stage.FACEFUSION)
    ]
