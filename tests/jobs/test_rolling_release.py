"""Old and new releases side by side: a worker of another one refuses by name, and the job goes on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.job_store import JobStore
from blocks.runpod import RunPodEndpoint
from deployments.local.control_plane.settings import EndpointConfig
from flows.errors import JobError
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.storage import ArtifactStore
from tests.jobs.scripted import SCRIPTED, Jobs, scripted_job
from tests.runpod.plane import API_KEY, RunningPlane, plane_config, running_plane

RELEASED = Path(__file__).parent / "workers" / "released.py"
OTHER_RELEASES = ("older", "newer")


@pytest.fixture(scope="module")
def release_plane(bucket: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    scratch = {"LIPSWAP_SCRATCH_ROOT": str(tmp_path_factory.mktemp("scratch"))}
    workers = [("ours", SCRIPTED, "0"), ("older", RELEASED, "-1"), ("newer", RELEASED, "1")]
    endpoints = [
        EndpointConfig(
            id=name,
            command=(sys.executable, str(program)),
            env=bucket | scratch | {"RELEASE_STEP": step},
            min_workers=1,
            max_workers=1,
            idle_seconds=600,
        )
        for name, program, step in workers
    ]
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints)) as plane:
        yield plane


@pytest.fixture
def jobs(release_plane: RunningPlane, store: ArtifactStore, job_store: JobStore) -> Jobs:
    endpoint = RunPodEndpoint(
        api_base=f"{release_plane.base_url}/v2",
        api_key=SecretStr(API_KEY),
        endpoint_id="ours",
        poll_interval_seconds=0.3,
        job_timeout_seconds=120,
        queue_timeout_seconds=100,
    )
    return Jobs(endpoint, store, job_store)


@pytest.mark.parametrize("release", OTHER_RELEASES)
async def test_a_canary_of_another_release_refuses_and_the_job_goes_to_ours(jobs: Jobs, release: str) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"canary_endpoint_id": release, "canary_percent": 100})
    job = scripted_job("good")

    done = await jobs.run(job)

    assert jobs.causes(job) == ["first", "contract_mismatch"]
    assert [claim.endpoint_id for claim in jobs.claims(job)] == [release, "ours"]
    assert done.receipt.attempt == 2


@pytest.mark.parametrize("release", OTHER_RELEASES)
async def test_without_another_endpoint_the_fault_names_the_mismatch(jobs: Jobs, release: str) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"endpoint_id": release})
    job = scripted_job("good")

    with pytest.raises(JobError) as caught:
        await jobs.run(job, max_attempts=2)

    assert caught.value.fault.code is FaultCode.CONTRACT_MISMATCH
    assert jobs.causes(job) == ["first", "contract_mismatch"]
    assert all(execution.gpu_seconds == 0 for execution in jobs.account(job).executions if execution.execution == 0)


async def test_in_a_rolling_release_the_next_worker_takes_what_the_last_refused(jobs: Jobs) -> None:
    job = scripted_job("fault:contract_mismatch,fault:revision_mismatch,good")

    done = await jobs.run(job)

    assert jobs.causes(job) == ["first", "contract_mismatch", "revision_mismatch"]
    assert done.receipt.attempt == 3


@pytest.mark.parametrize(("percent", "drawn"), [(0, 0), (10, 10), (100, 100)])
def test_a_canary_gets_its_part_and_a_job_always_goes_the_same_way(percent: int, drawn: int) -> None:
    endpoint = RunPodEndpoint(endpoint_id="ours", canary_endpoint_id="canary", canary_percent=percent)
    fingerprints = [f"{number:016x}{'0' * 48}" for number in range(100)]

    ways = [endpoint.endpoints_for(fingerprint) for fingerprint in fingerprints]

    assert sum(way == ("canary", "ours") for way in ways) == drawn
    assert ways == [endpoint.endpoints_for(fingerprint) for fingerprint in fingerprints]
