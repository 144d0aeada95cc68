"""One stack for all runs (Postgres, Prefect, Valkey, bucket, real GPU workers), and planes whose workers only wait."""

import os
import wave
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient

from blocks.connections import close_shared
from blocks.job_store import JobStore
from blocks.settings import WorkerType
from deployments.local.control_plane.settings import EndpointConfig
from deployments.local.services import ServiceName
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests.runpod.plane import API_KEY, RunningPlane, plane_config, running_plane
from tests.runs.long_footage import SAMPLES, Identities, identity_workers
from tests.runs.orchestra import LEAN, Orchestra, SharedWorker, deploy_if_other, quick_deployments
from tests.servers import RunningStack, running_stack, to_the_bucket, variables_of
from tests.simulation.commands import simulated

# Its tests import them from here.
__all__ = ["SAMPLES"]

# `make test-process` names Prefect's own worker here: the same tests of whole runs, on the other type.
WORKER_TYPE = WorkerType(os.environ.get("LIPSWAP_WORKER_TYPE", WorkerType.INPROCESS.value))
_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the modules, and leave some tests out on Prefect's own worker.

    Modules with workers of their own come last: the shared worker is not stopped and started again between them.
    Prefect's own worker has nothing to say where nothing depends on the worker, and where tests start their own.
    """
    fixtures = {item: set(getattr(item, "fixturenames", ())) for item in items}
    if WORKER_TYPE is not WorkerType.INPROCESS:
        kept = [item for item in items if "shared_worker" in fixtures[item] and "alone" not in fixtures[item]]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
    alone = {item.path for item in items if "alone" in fixtures[item]}
    places = [place for place, item in enumerate(items) if item.path.parent == _FOLDER]
    ordered = sorted((items[place] for place in places), key=lambda item: item.path in alone)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    with running_stack(
        ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.CONTROL_PLANE
    ) as running:
        yield running


@pytest.fixture(scope="package")
def environment(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a process around Prefect."""
    return variables_of(stack.addresses) | {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "TMPDIR": str(tmp_path_factory.mktemp("scratch")),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "RUNPOD_POLL_INTERVAL": "0.5",
        "LIPSWAP_ALLOW_DRAFT": "true",
        "LIPSWAP_WORKER_TYPE": WORKER_TYPE.value,
    }


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
def simulated_plane(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningPlane, dict[str, str]]]:
    """A plane whose workers only wait, and the variables with which runs go there."""
    folder = tmp_path_factory.mktemp("simulated")
    bucket = to_the_bucket(environment)
    scratch = {"LIPSWAP_SCRATCH_ROOT": str(folder / "scratch")}
    endpoints = [
        EndpointConfig(
            id=name,
            command=simulated(stage, seconds=seconds),
            env=bucket | scratch,
            min_workers=1,
            max_workers=1,
            idle_seconds=600,
        )
        for name, stage, seconds in (
            ("quick-sync", Stage.WAV2LIP, 0.2),
            ("quick-swap", Stage.FACEFUSION, 0.2),
            ("slow-sync", Stage.WAV2LIP, 3.0),
            # Still at work when what was to happen meanwhile has happened on a busy machine.
            ("long-sync", Stage.WAV2LIP, 8.0),
            ("long-swap", Stage.FACEFUSION, 8.0),
            ("endless-sync", Stage.WAV2LIP, 120.0),
        )
    ]
    with running_plane(plane_config(folder, *endpoints)) as plane:
        changes = {
            "RUNPOD_API_BASE": f"{plane.base_url}/v2",
            "RUNPOD_API_KEY": API_KEY,
            "RUNPOD_WAV2LIP_ENDPOINT": "quick-sync",
            "RUNPOD_FACEFUSION_ENDPOINT": "quick-swap",
            "LIPSWAP_QUALITY_ENABLED": "false",
        }
        yield plane, environment | changes | LEAN


@pytest.fixture(scope="package")
def keys(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A request's inputs as a client would have uploaded them: the sample, its voice cut to a second and a half."""
    voice = tmp_path_factory.mktemp("clips") / "voice.wav"
    with wave.open(str(SAMPLES / "speech.wav")) as whole, wave.open(str(voice), "wb") as cut:
        cut.setparams(whole.getparams())
        cut.writeframes(whole.readframes(whole.getframerate() * 3 // 2))
    store.put_file(voice, "uploads/audio/voice.wav", "audio/wav")
    store.put_file(SAMPLES / "target.mp4", "uploads/video/target.mp4", "video/mp4")
    store.put_file(SAMPLES / "source.jpg", "uploads/source/face.jpg", "image/jpeg")
    return {
        "audio_key": "uploads/audio/voice.wav",
        "target_key": "uploads/video/target.mp4",
        "source_keys": ["uploads/source/face.jpg"],
    }


@pytest.fixture(scope="package")
async def prefect(stack: RunningStack) -> AsyncIterator[PrefectClient]:
    async with PrefectClient(stack.addresses.prefect_api_url) as client:
        yield client


@pytest.fixture(scope="package")
async def orchestra(stack: RunningStack, prefect: PrefectClient, job_store: JobStore) -> Orchestra:
    at = stack.addresses
    plane_url = at.runpod_api_base.removesuffix("/v2")
    return Orchestra(prefect, job_store, plane_url, at.runpod_api_key.get_secret_value())


@pytest.fixture(scope="package")
def identities(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identities]:
    """Workers of both stages that change nothing, one each."""
    with identity_workers(tmp_path_factory.mktemp("identities"), environment, workers=1) as running:
        yield running


@pytest.fixture
def script(identities: Identities) -> Iterator[Identities]:
    """The same; they follow no script afterwards."""
    yield identities
    identities.follow()


@pytest.fixture(scope="package")
def deployer(environment: dict[str, str]) -> Iterator[None]:
    """Deployments of this folder's tests, without the imports of each."""
    with quick_deployments(environment):
        yield


@pytest.fixture(scope="package")
def shared_worker(
    environment: dict[str, str],
    deployer: None,  # noqa: ARG001  # before the first deployment
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SharedWorker]:
    """The one worker of most modules, at work when one asks for it."""
    shared = SharedWorker(environment, tmp_path_factory.mktemp("worker"))
    yield shared
    shared.stop()


@pytest.fixture(scope="module")
def worker(environment: dict[str, str], shared_worker: SharedWorker) -> None:
    """The worker, and what is deployed without anything special."""
    deploy_if_other(environment)
    shared_worker.at_work()


@pytest.fixture(scope="module")
def alone(shared_worker: SharedWorker) -> None:
    """The tests of this module start workers of their own, and no other one takes their runs."""
    shared_worker.stop()
