"""One of every process is killed while runs go through; every run ends with its result, and none is paid for twice."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from api_shim.client import ApiUnreachableError, Client
from deployments.local.services import ServiceName
from deployments.requests import Inputs, upload_all
from flows.request import PipelineRequest
from gpu_tasks.contract.records import Status, TaskRecord
from tests.ha.counting import jobs_begun
from tests.ha.fleet import COMPOSE, LOGIN, Fleet, running_fleet
from tests.servers import RunningStack, running_stack
from tests.waiting import wait_until

pytestmark = [pytest.mark.ha, pytest.mark.timeout(1500)]

SAMPLES = Path(__file__).parents[2] / "samples"
RUN_SECONDS = 400.0
# Different requests, so that nothing of one is another's; a second of the sample each.
TRIMS: list[dict[str, Any]] = [{"trim": {"start": start, "end": start + 1.0}} for start in (0.0, 0.4, 0.8, 1.2)]
# In this order while runs are on their way, one of two each.
VICTIMS = ("prefect-api-1", "prefect-services-1", "orchestrator-1", "api-1")


@pytest.fixture(scope="module")
def servers() -> Iterator[RunningStack]:
    parts = (ServiceName.POSTGRES, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.CONTROL_PLANE)
    with running_stack(*parts) as stack:
        yield stack


@pytest.fixture(scope="module")
def fleet(servers: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with running_fleet(servers.addresses, tmp_path_factory.mktemp("fleet")) as running:
        yield running


def test_prometheus_gets_numbers_of_every_prefect_server(fleet: Fleet) -> None:
    """As prometheus.yaml says who it is."""
    jobs = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    said = next(job for job in jobs if job["job_name"] == "prefect")
    login = (said["basic_auth"]["username"], LOGIN.partition(":")[2])

    # Through the balancer, which goes from one to the next.
    for _ in range(2):
        scraped = httpx.get(f"{fleet.prefect_url}{said['metrics_path']}", auth=login, timeout=30)
        assert scraped.status_code == httpx.codes.OK
        assert "# HELP" in scraped.text


def test_runs_survive_the_death_of_one_of_everything(fleet: Fleet, servers: RunningStack) -> None:
    with Client(fleet.api_url) as client:
        first = client.wait(_started(client, TRIMS[0]), timeout=RUN_SECONDS)
        assert first.status is Status.COMPLETED, first.error
        before = jobs_begun(servers.addresses)
        tasks = []
        for victim, options in zip(VICTIMS, [*TRIMS[1:], {"sync_mode": "bounce"}], strict=True):
            task = _started(client, options)
            tasks.append(task)
            _until_begun(client, task)
            fleet.kill(victim)
            print(f"{time.strftime('%H:%M:%S')} killed {victim} during {task}")  # noqa: T201  # the recorded proof

        records = [_ended(client, task) for task in tasks]

    assert [record.status for record in records] == [Status.COMPLETED] * len(tasks), [r.error for r in records]
    assert all(record.result and record.result.output_key for record in records)
    print(f"{jobs_begun(servers.addresses) - before} GPU jobs begun for {len(tasks)} runs of two stages")  # noqa: T201  # the same
    # Nobody killed a GPU worker: whoever took a run over found its jobs again.
    assert jobs_begun(servers.addresses) - before == 2 * len(tasks)


def _started(client: Client, options: dict[str, Any]) -> str:
    inputs = Inputs(
        target=str(SAMPLES / "target.mp4"), audio=str(SAMPLES / "speech.wav"), sources=(str(SAMPLES / "source.jpg"),)
    )
    request: PipelineRequest = _again(lambda: upload_all(client, inputs, options))
    return str(_again(lambda: client.run(request, idempotency_key=repr(sorted(options)) + str(options))).task_id)


def _status(client: Client, task: str) -> TaskRecord:
    record: TaskRecord = _again(lambda: client.status(task))
    return record


def _until_begun(client: Client, task: str) -> None:
    wait_until(
        lambda: _status(client, task).status is not Status.PENDING, seconds=RUN_SECONDS, what=f"run {task} has begun"
    )


def _ended(client: Client, task: str) -> TaskRecord:
    record: TaskRecord = _again(lambda: client.wait(task, timeout=RUN_SECONDS))
    return record


def _again(ask: Any) -> Any:  # noqa: ANN401  # any call
    """A connection that was open to a killed replica is lost; a client asks again, as every client of a proxy does."""

    def attempt() -> list[Any]:
        try:
            return [ask()]
        except ApiUnreachableError:
            return []

    return wait_until(attempt, seconds=60, what="a replica answers")[0]
