"""Workers come and go: the stock process pool, a worker that stops, and a second one that goes on."""

import signal
from pathlib import Path
from typing import Any

import pytest

from flows.pools import PROCESS_POOL
from gpu_tasks.contract.records import RecordStage, Status
from tests.runs.orchestra import Orchestra, deploy, worker_process


@pytest.mark.usefixtures("deployed")
async def test_a_worker_that_is_stopped_hands_its_run_back_with_its_gpu_job(
    orchestra: Orchestra, keys: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    request = keys | {"facefusion": {"face_enhancer_blend": 50}}
    with worker_process(environment, tmp_path, "flows.worker") as stopped:
        task_id = await orchestra.send(request)
        seen = await orchestra.until(task_id, lambda record: record.details.get("facefusion_status") == "IN_PROGRESS")
        before = await orchestra.started_jobs()
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(4) == 0
    with worker_process(environment, tmp_path, "flows.worker"):
        record = await orchestra.final(task_id)
    assert record.status is Status.COMPLETED
    assert record.attempts == 2
    assert record.details["facefusion_job_id"] == seen.details["facefusion_job_id"]
    assert await orchestra.started_jobs() == before


async def test_the_same_pipeline_runs_on_a_stock_process_pool(
    orchestra: Orchestra, keys: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    deploy(environment, LIPSWAP_WORKER_TYPE="process")
    stock = ("prefect", "worker", "start", "--type", "process", "--pool", PROCESS_POOL)
    try:
        with worker_process(environment, tmp_path, *stock):
            record = await orchestra.run(keys | {"facefusion": {"face_enhancer_blend": 51}})
    finally:
        deploy(environment)
    assert record.status is Status.COMPLETED, record.error
    assert record.progress[-1].stage is RecordStage.COMPLETED
