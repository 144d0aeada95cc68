"""The same deployments on our worker type and on Prefect's own: a setting decides, the runs do not notice."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled, Cancelling

from blocks.settings import WorkerType
from flows.inprocess_worker import InProcessWorker
from flows.pools import INPROCESS_POOL
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import RecordStage, Status
from tests.runpod.plane import API_KEY, EndpointClient, RunningPlane
from tests.runs.orchestra import COMMANDS, LEAN, STOP_SECONDS, Orchestra, Worker, deploy
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
    worker = Worker.start(environment | LEAN, tmp_path, [*map(str, command), "--pool", INPROCESS_POOL])
    try:
        lips = {"target_key": keys["target_key"], "audio_key": keys["audio_key"], "wav2lip": own_options()["wav2lip"]}
        task_id = await orchestra.send(lips)
        seen = await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, STOP_SECONDS) == 0
    finally:
        worker.stop()
    # Nobody has to miss it: the run is due again, and its job goes on.
    assert (await orchestra.flow_run(task_id)).state_name == "AwaitingRetry"
    async with aiohttp.ClientSession(headers={"Authorization": API_KEY}) as http:
        endpoint = EndpointClient(http, simulated_plane[0].base_url, "endless-sync")
        job_id = seen.details["wav2lip_job_id"]
        assert (await endpoint.get(f"status/{job_id}")).body["status"] == "IN_PROGRESS"
        # The one worker is there for the next test.
        await endpoint.post(f"cancel/{job_id}")
    await orchestra.prefect.set_flow_run_state(UUID(task_id), Cancelled(), force=True)


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
