"""A bucket, a Valkey, and planes whose jobs end on cue: what one GPU job stands on, without Prefect and its workers."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from blocks.connections import close_shared
from blocks.job_store import JobStore
from blocks.runpod import RunPodEndpoint
from deployments.local.control_plane.settings import EndpointConfig
from deployments.local.services import ServiceName
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests.jobs.scripted import SCRIPTED, Jobs
from tests.runpod.plane import API_KEY, WORKERS, RunningPlane, plane_config, running_plane
from tests.servers import RunningStack, running_stack, to_the_bucket, variables_of


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    with running_stack(ServiceName.VALKEY, ServiceName.OBJECT_STORE) as running:
        yield running


@pytest.fixture(scope="package")
def bucket(stack: RunningStack) -> dict[str, str]:
    """The variables by which a worker finds the bucket."""
    return to_the_bucket(variables_of(stack.addresses))


@pytest.fixture(scope="package")
def r2(stack: RunningStack) -> R2Settings:
    return stack.addresses.r2


@pytest.fixture(scope="package")
def store(r2: R2Settings) -> ArtifactStore:
    return connect(r2)


@pytest.fixture(scope="package")
async def job_store(stack: RunningStack) -> AsyncIterator[JobStore]:
    yield JobStore(redis_url=stack.addresses.redis_url)
    await close_shared()


@pytest.fixture(scope="package")
def scripted_plane(bucket: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    command = (sys.executable, str(SCRIPTED))
    endpoint = EndpointConfig(
        id="scripted", command=command, env=bucket, min_workers=1, max_workers=1, idle_seconds=600
    )
    without_workers = EndpointConfig(id="empty", command=command, max_workers=0)
    crashing = EndpointConfig(id="crashing", command=(sys.executable, str(WORKERS / "crashing.py")))
    endpoints = (endpoint, without_workers, crashing)
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints)) as plane:
        yield plane


@pytest.fixture
def scripted(scripted_plane: RunningPlane) -> RunPodEndpoint:
    return RunPodEndpoint(
        api_base=f"{scripted_plane.base_url}/v2",
        api_key=SecretStr(API_KEY),
        endpoint_id="scripted",
        poll_interval_seconds=0.3,
        job_timeout_seconds=200,
    )


@pytest.fixture
def jobs(scripted: RunPodEndpoint, store: ArtifactStore, job_store: JobStore) -> Jobs:
    return Jobs(scripted, store, job_store)
