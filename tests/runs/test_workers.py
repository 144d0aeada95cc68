"""Workers come and go: one that stops, and a second one that goes on."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import psutil
import pytest
from prefect.client.schemas.objects import StateType

from gpu_tasks.contract.records import Status
from tests.chaos.auditing import leaked_leases
from tests.runpod.plane import API_KEY, RunningPlane
from tests.runs.orchestra import STOP_SECONDS, Orchestra, deploy, worker_process
from tests.simulation.options import own_options

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def simulated(
    orchestra: Orchestra, simulated_plane: tuple[RunningPlane, dict[str, str]]
) -> tuple[Orchestra, dict[str, str]]:
    """Requests whose GPU jobs take a known time."""
    plane, environment = simulated_plane
    return replace(orchestra, plane_url=plane.base_url, plane_key=API_KEY), environment


@pytest.mark.inprocess
async def test_a_worker_that_is_stopped_hands_its_run_back_with_its_gpu_job(
    simulated: tuple[Orchestra, dict[str, str]], keys: dict[str, Any], tmp_path: Path
) -> None:
    orchestra, environment = simulated
    deploy(environment, RUNPOD_FACEFUSION_ENDPOINT="long-swap")
    with worker_process(environment, tmp_path, "flows.worker") as stopped:
        task_id = await orchestra.send(keys | own_options())
        seen = await orchestra.until(task_id, lambda record: record.details.get("facefusion_status") == "IN_PROGRESS")
        before = await orchestra.started_jobs()
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(STOP_SECONDS) == 0
    # Nobody has to wait until its leases are over. Others' are of runs from whose end another test took Redis away.
    leases = await leaked_leases(environment["JOBSTORE_REDIS_URL"], orchestra.job_store.prefix)
    assert not [lease for lease in leases if task_id in lease]
    with worker_process(environment, tmp_path, "flows.worker"):
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
    _, alive = psutil.wait_procs(children, timeout=STOP_SECONDS)
    assert not alive
    assert not list(tmp_path.glob("lipswap-cpu-*"))


@pytest.mark.inprocess
async def test_a_run_whose_worker_was_killed_goes_on_with_another_and_its_gpu_job(
    simulated: tuple[Orchestra, dict[str, str]], keys: dict[str, Any], tmp_path: Path
) -> None:
    orchestra, environment = simulated
    deploy(environment, RUNPOD_WAV2LIP_ENDPOINT="long-sync")
    with worker_process(environment, tmp_path, "flows.worker") as killed:
        task_id = await orchestra.send(keys | own_options())
        seen = await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
        before = await orchestra.started_jobs()
        killed.kill()
        killed.wait(STOP_SECONDS)
    assert (await orchestra.flow_run(task_id)).state_type is StateType.RUNNING
    with worker_process(environment, tmp_path, "flows.worker"):
        record = await orchestra.final(task_id)
    assert record.status is Status.COMPLETED, record.error
    assert record.attempts == 2
    assert record.details["wav2lip_job_id"] == seen.details["wav2lip_job_id"]
    # The face swap is the only job that has begun since.
    assert await orchestra.started_jobs() == before + 1
