"""A real shim before a real Prefect server, Valkey and bucket; the tests play the flow."""

from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr
from redis.asyncio import Redis

from api_shim.settings import ShimSettings
from blocks.connections import close_shared
from blocks.deliveries import DELIVERY_DEPLOYMENT
from blocks.job_store import JobStore
from deployments.local.services import ServiceName
from flows.request import (
    DEPLOYMENT,
    ESTIMATE_DEPLOYMENT,
    FACES_DEPLOYMENT,
    PREVIEW_DEPLOYMENT,
    VERIFY_DEPLOYMENT,
)
from gpu_tasks.storage import ArtifactStore, connect
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, PREFIX, Environment, environment_of, settings_of, shim_process
from tests.servers import RunningStack, running_stack


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    with running_stack(ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE) as running:
        yield running


@pytest.fixture(scope="package")
def environment(stack: RunningStack) -> Environment:
    return environment_of(stack.addresses)


@pytest.fixture(scope="package")
def settings(environment: Environment) -> ShimSettings:
    return settings_of(environment)


@pytest.fixture(scope="package")
def bucket(settings: ShimSettings) -> ArtifactStore:
    return connect(settings.r2)


@pytest.fixture(scope="package")
async def prefect(settings: ShimSettings) -> AsyncIterator[PrefectClient]:
    async with PrefectClient(settings.prefect_api_url) as client:
        yield client


@pytest.fixture(scope="package", autouse=True)
async def deployment(prefect: PrefectClient) -> UUID:
    """The deployments under their real names, on no pool: runs stay scheduled until a test sets their state."""
    made = {}
    small = (VERIFY_DEPLOYMENT, DELIVERY_DEPLOYMENT, FACES_DEPLOYMENT, PREVIEW_DEPLOYMENT, ESTIMATE_DEPLOYMENT)
    for name in (DEPLOYMENT, *small):
        flow_name, _, deployment_name = name.partition("/")
        flow_id = await prefect.create_flow_from_name(flow_name)
        made[name] = await prefect.create_deployment(
            flow_id=flow_id, name=deployment_name, enforce_parameter_schema=False
        )
    return made[DEPLOYMENT]


@pytest.fixture(scope="package")
async def job_store(settings: ShimSettings) -> AsyncIterator[JobStore]:
    yield JobStore(redis_url=settings.jobstore_redis_url, prefix=PREFIX, ttl_seconds=3600)
    await close_shared()


@pytest.fixture
async def redis(settings: ShimSettings) -> AsyncIterator[Redis]:
    async with Redis.from_url(settings.jobstore_redis_url.get_secret_value()) as client:
        yield client


@pytest.fixture(scope="package")
def flow(prefect: PrefectClient, job_store: JobStore) -> PlayedFlow:
    return PlayedFlow(prefect, job_store)


@pytest.fixture(scope="package")
def shim(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address and log of `python -m api_shim`."""
    with shim_process(environment, tmp_path_factory.mktemp("shim")) as running:
        yield running


@pytest.fixture(scope="package")
async def http(shim: tuple[str, Path]) -> AsyncIterator[httpx.AsyncClient]:
    # The server closes what is idle for five seconds, as does a client unless it is told otherwise: a request that is
    # sent just then would be lost.
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=1.0)
    async with httpx.AsyncClient(base_url=shim[0], timeout=ANSWER_SECONDS, limits=limits) as client:
        yield client


@pytest.fixture(scope="package")
def keys(bucket: ArtifactStore) -> dict[str, str]:
    """One stored object of each kind; the shim never looks inside."""
    stored = {"audio_key": "uploads/audio/a.wav", "target_key": "uploads/video/t.mp4", "source": "uploads/source/s.png"}
    for key in stored.values():
        bucket.put_stream(BytesIO(b"bytes"), key, "application/octet-stream")
    return stored


@pytest.fixture
def body(keys: dict[str, str]) -> dict[str, object]:
    """The body of a request that is accepted."""
    return {"audio_key": keys["audio_key"], "target_key": keys["target_key"], "labels": {"test": uuid4().hex}}


@pytest.fixture
async def task_id(http: httpx.AsyncClient, body: dict[str, object]) -> str:
    """A task that was just accepted."""
    answer = await http.post("/run", json=body)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["task_id"])


@pytest.fixture(scope="package")
def secret() -> SecretStr:
    return SecretStr("the-shared-secret")
