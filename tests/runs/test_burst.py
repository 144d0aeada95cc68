"""Twenty identical requests at once, through server, orchestrator worker and GPU workers: what they cost."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from gpu_tasks.contract.records import Status
from tests.runs.orchestra import Orchestra, deploy, worker_process

pytestmark = [pytest.mark.bench, pytest.mark.usefixtures("alone")]

BURST = 20


@pytest.fixture(scope="module")
def quiet_worker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Without inspections: twenty of one video would only take the CPU."""
    quiet = {**environment, "LIPSWAP_QUALITY_ENABLED": "false"}
    deploy(quiet)
    with worker_process(quiet, tmp_path_factory.mktemp("worker"), "flows.worker"):
        yield


@pytest.mark.usefixtures("quiet_worker")
async def test_a_burst_of_identical_requests_costs_one_job_per_stage(
    orchestra: Orchestra, keys: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = await orchestra.started_jobs()
    began = asyncio.get_running_loop().time()
    task_ids = await asyncio.gather(*(orchestra.send(keys) for _ in range(BURST)))
    records = await asyncio.gather(*(orchestra.until(one, lambda record: record.status.is_final) for one in task_ids))
    jobs = await orchestra.started_jobs() - before
    paid = sum(record.cost.gpu_seconds > 0 for record in records)
    took = asyncio.get_running_loop().time() - began
    with capsys.disabled():
        print(f"\n{BURST} identical requests: {jobs} GPU jobs, paid by {paid} of the runs, {took:.1f} s")  # noqa: T201  # the figure
    assert [record.status for record in records] == [Status.COMPLETED] * BURST
    assert jobs == 2
