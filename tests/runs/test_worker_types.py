"""The same deployments on our worker type and on Prefect's own: a setting decides, the runs do not notice."""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from blocks.settings import WorkerType
from flows.inprocess_worker import InProcessWorker
from flows.pools import INPROCESS_POOL
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import RecordStage, Status
from tests.runpod.plane import RunningPlane
from tests.runs.orchestra import COMMANDS, Orchestra, Worker, deploy, worker_process
from tests.simulation.options import own_options


@pytest.fixture(scope="module", params=WorkerType, ids=str)
async def worker_type(
    request: pytest.FixtureRequest,
    simulated_plane: tuple[RunningPlane, dict[str, str]],
    alone: None,  # noqa: ARG001  # takes no run from it
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[WorkerType]:
    worker_type: WorkerType = request.param
    # Nothing but a cancellation ends a lip-sync here.
    environment = simulated_plane[1] | {"RUNPOD_WAV2LIP_ENDPOINT": "endless-sync"}
    deploy(environment, LIPSWAP_WORKER_TYPE=worker_type.value)
    command = [sys.executable, "-m", *COMMANDS[worker_type]]
    worker = Worker.start(environment, tmp_path_factory.mktemp(worker_type), command)
    yield worker_type
    worker.stop()


@pytest.mark.inprocess
async def test_prefects_command_line_starts_our_worker_and_its_signal_hands_runs_back(
    simulated_plane: tuple[RunningPlane, dict[str, str]],
    orchestra: Orchestra,
    keys: dict[str, Any],
    alone: None,  # noqa: ARG001  # takes no run from it
    tmp_path: Path,
) -> None:
    environment = simulated_plane[1] | {"RUNPOD_WAV2LIP_ENDPOINT": "endless-sync"}
    deploy(environment, LIPSWAP_WORKER_TYPE=WorkerType.INPROCESS.value)
    command = (Path(sys.executable).with_name("prefect"), "worker", "start", "--type", InProcessWorker.type)
    worker = Worker.start(environment, tmp_path, [*map(str, command), "--pool", INPROCESS_POOL])
    try:
        swap = {"target_key": keys["target_key"], "source_keys": keys["source_keys"]}
        quick = await orchestra.run(swap | {"facefusion": own_options()["facefusion"]})
        assert quick.status is Status.COMPLETED, quick.error
        lips = {"target_key": keys["target_key"], "audio_key": keys["audio_key"], "wav2lip": own_options()["wav2lip"]}
        task_id = await orchestra.send(lips)
        seen = await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
    finally:
        began = time.monotonic()
        worker.stop()
    assert time.monotonic() - began < 10, "it was killed"
    # Nobody has to miss it: the run is due again, and its job goes on.
    assert (await orchestra.flow_run(task_id)).state_name == "AwaitingRetry"
    with worker_process(environment, tmp_path, "flows.worker"):
        again = await orchestra.until(task_id, lambda record: record.attempts == 2 and record.details["wav2lip_job_id"])
        assert again.details["wav2lip_job_id"] == seen.details["wav2lip_job_id"]
        await orchestra.prefect.set_flow_run_state(UUID(task_id), Cancelling())
        assert (await orchestra.final(task_id)).status is Status.CANCELLED


@pytest.mark.usefixtures("worker_type")
async def test_a_run_is_completed(orchestra: Orchestra, keys: dict[str, Any]) -> None:
    swap = {name: value for name, value in own_options().items() if name == "facefusion"}
    request = {"target_key": keys["target_key"], "source_keys": keys["source_keys"]} | swap
    record = await orchestra.run(request)
    assert record.status is Status.COMPLETED, record.error
    assert record.progress[-1].stage is RecordStage.COMPLETED
    assert (await orchestra.ended(record.task_id)).state_type is StateType.COMPLETED


@pytest.mark.usefixtures("worker_type")
async def test_a_run_that_cannot_go_on_fails_with_its_code(orchestra: Orchestra, keys: dict[str, Any]) -> None:
    record = await orchestra.run(keys | {"target_key": "uploads/video/nothing.mp4"})
    assert record.error is not None
    assert (record.status, record.error.error) == (Status.FAILED, FaultCode.OBJECT_MISSING)
    assert (await orchestra.ended(record.task_id)).state_type is StateType.FAILED


@pytest.mark.usefixtures("worker_type")
async def test_a_cancelled_run_says_so(orchestra: Orchestra, keys: dict[str, Any]) -> None:
    request = {"target_key": keys["target_key"], "audio_key": keys["audio_key"], "wav2lip": own_options()["wav2lip"]}
    task_id = await orchestra.send(request)
    await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
    await orchestra.prefect.set_flow_run_state(UUID(task_id), Cancelling())
    assert (await orchestra.final(task_id)).status is Status.CANCELLED
    assert (await orchestra.ended(task_id)).state_type is StateType.CANCELLED
