"""The simulator's prediction of throughput against the local stack: within a fifth."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_shim.client import Client
from deployments.capacity.simulation import Load, StageLoad, simulate
from deployments.fleet.declaration import read_declaration
from deployments.requests import Inputs, upload_all
from flows.accounts import ExecutionEntry
from flows.ledger import read_accounts
from flows.request import PipelineRequest
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import Status, TaskRecord
from gpu_tasks.storage import connect
from tests.servers import RunningStack, running_stack

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SAMPLES = Path(__file__).parents[2] / "samples"
JOBS = 16
# The same two cores serve everything: what a job takes depends on how many run, so it is learnt from as many.
LEARNT = range(JOBS)
PREDICTED = range(JOBS, 2 * JOBS)
RUN_SECONDS = 900.0
TOLERANCE = 0.2


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with running_stack() as running:
        yield running


def test_the_throughput_of_the_local_stack_is_predicted(
    stack: RunningStack, capsys: pytest.CaptureFixture[str]
) -> None:
    at = stack.addresses
    with Client(at.api_url) as client:
        learnt = _run(client, LEARNT)
        stages = _stages(at_seconds=_job_seconds(stack, learnt))
        around = statistics.median(_around_seconds(record, stack) for record in learnt)
        measured = _run(client, PREDICTED)

    began = min(record.created_at for record in measured)
    arrivals = [(record.created_at - began).total_seconds() for record in measured]
    predicted = simulate(Load(jobs_per_day=JOBS, around_seconds=around), stages, arrivals=arrivals).jobs_per_hour
    seen = JOBS / (max(record.updated_at for record in measured) - began).total_seconds() * 3600
    with capsys.disabled():
        job_seconds = ", ".join(f"{stage.name} {stage.job_seconds:.1f} s" for stage in stages)
        print(  # noqa: T201  # a benchmark's figures are its output
            f"\n{JOBS} runs at once: predicted {predicted:.0f} an hour, measured {seen:.0f} "
            f"({predicted / seen - 1:+.0%}); a job takes {job_seconds}, the rest of a run {around:.1f} s"
        )
    assert abs(predicted / seen - 1) < TOLERANCE


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


def _around_seconds(record: TaskRecord, stack: RunningStack) -> float:
    """Seconds of a run in which none of its jobs was in a queue or on a worker."""
    entries = _entries(stack, {record.task_id})
    on_workers = sum(entry.gpu_seconds + (entry.delay_seconds or 0.0) for entry in entries)
    return max(0.0, (record.updated_at - record.created_at).total_seconds() - on_workers)


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
