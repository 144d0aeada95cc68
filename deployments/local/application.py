"""Our own processes: the one-shot deploy, the orchestrator worker, the API and the page."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from blocks.settings import WorkerType
from deployments.local.errors import NotReady
from deployments.local.gpu_endpoints import GpuEndpointsAddress, bucket_environment, has_models, thread_limits
from deployments.local.http_probe import ask
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.object_store import ObjectStoreAddress
from deployments.local.prefect_server import PrefectAddress, prefect_environment
from deployments.local.processes import Program, base_environment
from deployments.local.services import Service, ServiceName
from deployments.local.valkey_server import ValkeyAddress
from flows.pools import PROCESS_POOL

_POLL_SECONDS = "0.5"
_JOB_SECONDS = "1800"
_RECORD_PREFIX = "ff:task"
_RECORD_SECONDS = "604800"
_WORKER_QUERY_SECONDS = "1"
# All services together have nine to stop; runs that are not handed back in time are found when their lease is over.
_HAND_BACK_SECONDS = 2.0
_POOLS_AT_MOST = 20
_PAGE_POLL_SECONDS = "1"
_SAMPLES = Path(__file__).parents[2] / "samples"


class Neighbours(BaseModel):
    """Everything our processes talk to."""

    model_config = ConfigDict(frozen=True)

    prefect: PrefectAddress
    gpu: GpuEndpointsAddress
    store: ObjectStoreAddress
    valkey: ValkeyAddress
    worker_type: WorkerType
    api_secret: SecretStr | None
    webhook_secret: SecretStr
    hook_token: SecretStr
    api_url: str = Field(description="Where the control plane tells that a job is over.")
    wishes: Mapping[str, str] = Field(default_factory=dict, description="As `wishes_in` finds them.")


class _Pool(BaseModel):
    name: str


class _Worker(BaseModel):
    last_heartbeat_time: datetime | None


_POOLS = TypeAdapter(list[_Pool])
_WORKERS = TypeAdapter(list[_Worker])


class _Heartbeat:
    """Knows a worker by a heartbeat younger than its start; those of its predecessors stay listed in Prefect."""

    def __init__(self, prefect: PrefectAddress) -> None:
        self._pools_url, self._headers = f"{prefect.api_url}/work_pools", prefect.headers
        self._began = datetime.now(UTC)

    async def forget(self) -> None:
        self._began = datetime.now(UTC)

    async def probe(self) -> None:
        answer = await ask(f"{self._pools_url}/filter", body={"limit": _POOLS_AT_MOST}, headers=self._headers)
        for pool in _POOLS.validate_json(answer):
            answer = await ask(f"{self._pools_url}/{pool.name}/workers/filter", body={}, headers=self._headers)
            beats = [worker.last_heartbeat_time for worker in _WORKERS.validate_json(answer)]
            if any(beat and beat > self._began for beat in beats):
                return
        raise NotReady("no worker has reported to Prefect yet")


def deploy_service(directory: DataDirectory, neighbours: Neighbours) -> Service:
    """Return the one-shot step that registers blocks, work pools and the deployment with Prefect."""
    return Service(
        name=ServiceName.DEPLOY,
        program=_python(directory, ServiceName.DEPLOY, _environment(directory, neighbours), "deployments.deploy"),
        depends_on=frozenset({ServiceName.PREFECT_SERVER}),
        start_seconds=60.0,
        one_shot=True,
    )


def orchestrator_service(directory: DataDirectory, neighbours: Neighbours) -> Service:
    """Return the worker that runs the flows: ours in one process, or Prefect's own with a process per run."""
    name = ServiceName.ORCHESTRATOR
    command = {
        WorkerType.INPROCESS: ("flows.worker",),
        WorkerType.PROCESS: ("prefect", "worker", "start", "--type", "process", "--pool", PROCESS_POOL),
    }[neighbours.worker_type]
    environment = _environment(directory, neighbours) | thread_limits()
    environment["PREFECT_WORKER_QUERY_SECONDS"] = _WORKER_QUERY_SECONDS
    environment["LIPSWAP_HAND_BACK_SECONDS"] = str(_HAND_BACK_SECONDS)
    heartbeat = _Heartbeat(neighbours.prefect)
    return Service(
        name=name,
        program=_python(directory, name, environment, *command),
        depends_on=frozenset(
            {ServiceName.DEPLOY, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.CONTROL_PLANE}
        ),
        prepare=heartbeat.forget,
        probe=heartbeat.probe,
        start_seconds=60.0,
        stop_seconds=_HAND_BACK_SECONDS + 2.0,
    )


def api_service(directory: DataDirectory, neighbours: Neighbours, port: int) -> Service:
    """Return the HTTP API as a service."""
    name = ServiceName.API
    environment = _environment(directory, neighbours) | {"LIPSWAP_API_HOST": HOST, "LIPSWAP_API_PORT": str(port)}
    if neighbours.api_secret:
        environment["FF_API_SECRET"] = neighbours.api_secret.get_secret_value()
    return Service(
        name=name,
        program=_python(directory, name, environment, "api_shim"),
        depends_on=frozenset(
            {ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE, ServiceName.CONTROL_PLANE}
        ),
        probe=lambda: _probe_api(port),
        start_seconds=60.0,
        stop_seconds=3.0,
    )


def page_service(directory: DataDirectory, neighbours: Neighbours, ports: Ports) -> Service:
    """Return the page for people as a service; it knows the API's address and nothing else of the stack."""
    name = ServiceName.PAGE
    environment = base_environment(directory.home) | {
        "FF_API_BASE_URL": f"http://{HOST}:{ports.api}",
        "FF_POLL_INTERVAL": _PAGE_POLL_SECONDS,
        "FF_POLL_TIMEOUT": _JOB_SECONDS,
        "LIPSWAP_PAGE_HOST": HOST,
        "LIPSWAP_PAGE_PORT": str(ports.page),
        "LIPSWAP_PAGE_SAMPLES": str(_SAMPLES),
    }
    if neighbours.api_secret:
        environment["FF_API_SECRET"] = neighbours.api_secret.get_secret_value()
    return Service(
        name=name,
        program=_python(directory, name, environment, "ui_panel"),
        depends_on=frozenset({ServiceName.API}),
        probe=lambda: _probe_page(ports.page),
        start_seconds=90.0,
        stop_seconds=3.0,
    )


def _environment(directory: DataDirectory, neighbours: Neighbours) -> dict[str, str]:
    gpu = neighbours.gpu
    return (
        prefect_environment(directory, neighbours.prefect, "orchestrator")
        | bucket_environment(neighbours.store)
        | {
            "RUNPOD_API_KEY": gpu.api_key.get_secret_value(),
            "RUNPOD_API_BASE": gpu.api_base,
            "RUNPOD_WAV2LIP_ENDPOINT": gpu.wav2lip_endpoint,
            "RUNPOD_FACEFUSION_ENDPOINT": gpu.facefusion_endpoint,
            "RUNPOD_POLL_INTERVAL": _POLL_SECONDS,
            "RUNPOD_JOB_TIMEOUT": _JOB_SECONDS,
            "JOBSTORE_REDIS_URL": neighbours.valkey.url().get_secret_value(),
            "JOBSTORE_PREFIX": _RECORD_PREFIX,
            "JOBSTORE_TTL": _RECORD_SECONDS,
            "LIPSWAP_WEBHOOK_SECRET": neighbours.webhook_secret.get_secret_value(),
            # A laptop's receivers are on the laptop.
            "LIPSWAP_WEBHOOK_LOOPBACK": "true",
            "LIPSWAP_WEBHOOK_BASE_URL": neighbours.api_url,
            "LIPSWAP_RUNPOD_HOOK_TOKEN": neighbours.hook_token.get_secret_value(),
            "LIPSWAP_ALLOW_DRAFT": "true",
            "LIPSWAP_NEURAL_READY": str(has_models(directory)).lower(),
            "LIPSWAP_LOCAL_WEIGHTS": str(directory.weights),
            "LIPSWAP_C2PA_DEVELOPMENT": str(directory.signing),
            "LIPSWAP_WORKER_TYPE": neighbours.worker_type,
        }
        | dict(neighbours.wishes)
    )


def _python(
    directory: DataDirectory, name: ServiceName, environment: dict[str, str], module: str, *arguments: str
) -> Program:
    # An empty working directory: Prefect's process worker copies it for every run.
    cwd = directory.of(name) / "work"
    cwd.mkdir(exist_ok=True)
    return Program(
        command=(sys.executable, "-m", module, *arguments),
        log_path=directory.log(name),
        directory=cwd,
        environment=environment,
    )


async def _probe_page(port: int) -> None:
    await ask(f"http://{HOST}:{port}/door/alive")


async def _probe_api(port: int) -> None:
    await ask(f"http://{HOST}:{port}/health")
