"""Orchestrator workers that sleep, die again and again, or are deployed anew; and servers that are away for a while."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType

from deployments.local.services import ServiceName
from flows.request import VERIFY_DEPLOYMENT
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import Status, TaskRecord
from tests.runpod.plane import RunningPlane
from tests.runs.orchestra import Orchestra, Worker, deploy
from tests.servers import RunningStack
from tests.simulation.options import own_options
from tests.waiting import await_until

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("alone")]
_POISONED = Path(__file__).parent / "workers" / "poisoned.py"
_LEASE_SECONDS = "2"


def _waits_for_gpu(record: TaskRecord) -> bool:
    return record.details.get("wav2lip_status") == "IN_PROGRESS"


def _unique(keys: dict[str, Any]) -> dict[str, Any]:
    """A lip-sync that no other test has: its job is computed."""
    wav2lip = own_options()["wav2lip"]
    return {"audio_key": keys["audio_key"], "target_key": keys["target_key"], "wav2lip": wav2lip}


class Workers:
    """Workers of one test; all are gone afterwards."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._started: list[Worker] = []

    def start(self, *command: str, **changes: str) -> Worker:
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        program = [sys.executable, *(command or ("-m", "flows.worker"))]
        worker = Worker.start(self._environment | changes, folder, program)
        self._started.append(worker)
        return worker

    def stop(self) -> None:
        for worker in self._started:
            worker.stop()


@pytest.fixture
async def workers(simulated_plane: tuple[RunningPlane, dict[str, str]], tmp_path: Path) -> AsyncIterator[Workers]:
    _, environment = simulated_plane
    environment = environment | {
        "RUNPOD_WAV2LIP_ENDPOINT": "slow-sync",
        "LIPSWAP_LEASE_SECONDS": _LEASE_SECONDS,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    deploy(environment)
    workers = Workers(environment, tmp_path)
    yield workers
    await asyncio.to_thread(workers.stop)


async def _states(prefect: PrefectClient, orchestra: Orchestra, task_id: str) -> list[StateType]:
    run = await orchestra.flow_run(task_id)
    return [state.type for state in await prefect.read_flow_run_states(run.id)]


async def test_a_worker_that_slept_does_not_go_on_with_a_run_that_another_has_taken(
    orchestra: Orchestra, prefect: PrefectClient, workers: Workers, keys: dict[str, Any]
) -> None:
    sleeper = workers.start()
    task_id = await orchestra.send(_unique(keys))
    seen = await orchestra.until(task_id, _waits_for_gpu)
    sleeper.process.send_signal(signal.SIGSTOP)
    workers.start()
    record = await orchestra.final(task_id)
    assert (record.status, record.attempts) == (Status.COMPLETED, 2), record.error
    assert record.details["wav2lip_job_id"] == seen.details["wav2lip_job_id"]
    ended = await orchestra.ended(task_id)

    sleeper.process.send_signal(signal.SIGCONT)
    await await_until(
        lambda: "is another worker's now" in sleeper.log.read_text(encoding="utf-8"),
        what="the sleeper has found out",
    )
    # It works on as a worker: another run comes to one of the two.
    assert (await orchestra.run(_unique(keys))).status is Status.COMPLETED
    states = await _states(prefect, orchestra, task_id)
    assert states.count(StateType.RUNNING) == 2
    assert states[-1] is StateType.COMPLETED
    assert (await orchestra.flow_run(task_id)).state == ended.state
    assert not sleeper.has_ended()


async def test_a_run_that_kills_each_of_its_workers_is_given_up_and_the_others_are_completed(
    orchestra: Orchestra, workers: Workers, keys: dict[str, Any]
) -> None:
    poison = await orchestra.send(_unique(keys) | {"labels": {"poison": "yes"}})
    innocent = await orchestra.send(_unique(keys))
    poisoned = workers.start(str(_POISONED), LIPSWAP_RUN_ATTEMPTS="2")
    deaths = 0
    while not (record := await orchestra.job_store.read(poison)) or not record.status.is_final:
        if poisoned.has_ended():
            deaths += 1
            # Five times the attempts are the end for a run that is never alone at a death.
            assert deaths <= 10, "it is tried for ever"
            poisoned = workers.start(str(_POISONED), LIPSWAP_RUN_ATTEMPTS="2")
        await asyncio.sleep(0.1)
    assert record.error is not None
    assert (record.status, record.error.error) == (Status.FAILED, FaultCode.ORCHESTRATOR_LOST)
    assert (await orchestra.ended(poison)).state_type is StateType.FAILED
    assert (await orchestra.final(innocent)).status is Status.COMPLETED


async def test_a_worker_with_time_to_drain_finishes_its_runs_and_takes_no_new_one(
    orchestra: Orchestra, workers: Workers, keys: dict[str, Any]
) -> None:
    drained = workers.start(LIPSWAP_DRAIN_SECONDS="60")
    task_id = await orchestra.send(_unique(keys))
    await orchestra.until(task_id, _waits_for_gpu)
    drained.process.send_signal(signal.SIGTERM)
    late = await orchestra.send(_unique(keys))
    record = await orchestra.final(task_id)
    assert (record.status, record.attempts) == (Status.COMPLETED, 1)
    await await_until(drained.has_ended, what="the worker has ended")
    assert (await orchestra.flow_run(late)).state_type is StateType.SCHEDULED
    workers.start()
    assert (await orchestra.final(late)).status is Status.COMPLETED


async def test_a_run_waits_for_servers_that_were_killed(
    stack: RunningStack, orchestra: Orchestra, workers: Workers, keys: dict[str, Any]
) -> None:
    workers.start()
    task_id = await orchestra.send(_unique(keys))
    await orchestra.until(task_id, _waits_for_gpu)
    killed = (ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE)
    for service in killed:
        stack.kill(service)
    for service in killed:
        await asyncio.to_thread(stack.until_ready, service)
    record = await orchestra.final(task_id)
    assert (record.status, record.attempts) == (Status.COMPLETED, 1), record.error
    assert (await orchestra.ended(task_id)).run_count == 1


async def test_a_verdict_does_not_wait_behind_a_video_when_all_places_are_taken(
    orchestra: Orchestra, prefect: PrefectClient, workers: Workers, keys: dict[str, Any]
) -> None:
    workers.start(LIPSWAP_MAX_RUNS="1", LIPSWAP_CPU_PROCESSES="1")
    task_id = await orchestra.send(_unique(keys))
    await orchestra.until(task_id, _waits_for_gpu)
    waiting = await orchestra.send(_unique(keys))
    deployment = await prefect.read_deployment_by_name(VERIFY_DEPLOYMENT)
    verdict = await prefect.create_flow_run_from_deployment(
        deployment.id, parameters={"asked": {"key": keys["target_key"]}}
    )
    ended = await orchestra.ended(str(verdict.id))
    assert ended.state_type is StateType.COMPLETED
    assert (await orchestra.final(task_id)).status is Status.COMPLETED
    assert (await orchestra.final(waiting)).status is Status.COMPLETED
    started = (await orchestra.flow_run(waiting)).start_time
    assert ended.start_time is not None
    assert started is not None
    assert ended.start_time < started
