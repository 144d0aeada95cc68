"""Workers come and go: one that stops, and a second one that goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

import psutil
import pytest
from prefect.client.schemas.objects import StateType

from gpu_tasks.contract.records import Status
from tests.chaos.auditing import leaked_leases
from tests.runs.orchestra import LEAN, Orchestra, deploy_if_other, worker_process

pytestmark = pytest.mark.usefixtures("alone")


@pytest.mark.inprocess
async def test_a_worker_that_is_stopped_hands_its_run_back_with_its_gpu_job(
    orchestra: Orchestra, keys: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    deploy_if_other(environment)
    request = keys | {"wav2lip": {"blending": 50}, "facefusion": {"face_enhancer_blend": 50}}
    with worker_process(environment | LEAN, tmp_path, "flows.worker") as stopped:
        task_id = await orchestra.send(request)
        seen = await orchestra.until(task_id, lambda record: record.details.get("facefusion_status") == "IN_PROGRESS")
        before = await orchestra.started_jobs()
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(4) == 0
    # Nobody has to wait until its leases are over.
    assert not await leaked_leases(environment["JOBSTORE_REDIS_URL"], orchestra.job_store.prefix)
    with worker_process(environment | LEAN, tmp_path, "flows.worker"):
        record = await orchestra.final(task_id)
    assert record.status is Status.COMPLETED
    assert record.attempts == 2
    assert record.details["facefusion_job_id"] == seen.details["facefusion_job_id"]
    assert await orchestra.started_jobs() == before


def test_processes_of_the_cpu_pool_end_and_clean_up_after_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, time\n"
        "from flows.cpu_pool import CpuPool\n"
        "pool = CpuPool(2)\n"
        "asyncio.run(pool.warm_up())\n"
        "print('warm', flush=True)\n"
        "time.sleep(60)\n"
    )
    path = tmp_path / "parent.py"
    path.write_text(f"if __name__ == '__main__':\n{indent(program, '    ')}", encoding="utf-8")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, str(path)], env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"warm\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert list(tmp_path.glob("lipswap-cpu-*"))
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert not list(tmp_path.glob("lipswap-cpu-*"))


@pytest.mark.inprocess
async def test_a_run_whose_worker_was_killed_goes_on_with_another_and_its_gpu_job(
    orchestra: Orchestra, keys: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    deploy_if_other(environment)
    with worker_process(environment | LEAN, tmp_path, "flows.worker") as killed:
        # The draft lip-sync gives equal bytes for any blending: other swap options make the face swap a new job, too.
        changes = {"wav2lip": {"blending": 52}, "facefusion": {"face_enhancer_blend": 52}}
        task_id = await orchestra.send(keys | changes)
        seen = await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
        before = await orchestra.started_jobs()
        killed.kill()
        killed.wait(4)
    assert (await orchestra.flow_run(task_id)).state_type is StateType.RUNNING
    with worker_process(environment | LEAN, tmp_path, "flows.worker"):
        record = await orchestra.final(task_id)
    assert record.status is Status.COMPLETED, record.error
    assert record.attempts == 2
    assert record.details["wav2lip_job_id"] == seen.details["wav2lip_job_id"]
    # The face swap is the only job that has begun since.
    assert await orchestra.started_jobs() == before + 1
