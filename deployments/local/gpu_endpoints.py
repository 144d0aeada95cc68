"""The RunPod-compatible control plane with our two endpoints, as a service."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from deployments.fleet.declaration import read_declaration
from deployments.local.control_plane.messages import Health
from deployments.local.control_plane.settings import ControlPlaneConfig, EndpointConfig
from deployments.local.credentials import Credentials
from deployments.local.errors import NotReady
from deployments.local.http_probe import ask
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.object_store import ObjectStoreAddress
from deployments.local.processes import MARK, Program, base_environment
from deployments.local.services import Service, ServiceName
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.manifest import ModelRole, manifest
from gpu_tasks.contract.options import FaceFusionOptions

WAV2LIP = "wav2lip"
FACEFUSION = "facefusion"

_MODULES = {WAV2LIP: "gpu_tasks.wav2lip.worker", FACEFUSION: "gpu_tasks.facefusion.worker"}
_STAGES = {WAV2LIP: Stage.WAV2LIP, FACEFUSION: Stage.FACEFUSION}
# The workers share the machine's few cores with everything else; each library would take them all for itself.
_THREADS = "2"


class GpuWorkers(BaseModel):
    """The programs behind the endpoints, and how many of each may run; None: as the declaration says."""

    model_config = ConfigDict(frozen=True)

    commands: Mapping[str, tuple[str, ...]] = {
        endpoint: (sys.executable, "-m", module) for endpoint, module in _MODULES.items()
    }
    at_most: int | None = None


class GpuEndpointsAddress(BaseModel):
    """Where jobs are submitted, as RunPod's `https://api.runpod.ai/v2` is."""

    model_config = ConfigDict(frozen=True)

    api_base: str
    api_key: SecretStr
    wav2lip_endpoint: str = WAV2LIP
    facefusion_endpoint: str = FACEFUSION


def gpu_endpoints_address(ports: Ports, credentials: Credentials) -> GpuEndpointsAddress:
    """Return where this stack takes GPU jobs."""
    return GpuEndpointsAddress(api_base=f"http://{HOST}:{ports.control_plane}/v2", api_key=credentials.runpod_api_key)


def control_plane_service(
    directory: DataDirectory, address: GpuEndpointsAddress, store: ObjectStoreAddress, port: int, workers: GpuWorkers
) -> Service:
    """Return the control plane as a service; its workers start with it and outlive no stop of it."""
    name = ServiceName.CONTROL_PLANE
    home = directory.of(name)
    config_path = home / "config.json"

    async def write_config() -> None:
        config_path.touch(mode=0o600)
        config_path.write_text(_config(directory, address, store, port, workers), encoding="utf-8")

    return Service(
        name=name,
        program=Program(
            command=(sys.executable, "-m", "deployments.local.control_plane", str(config_path)),
            log_path=directory.log(name),
            directory=home,
            environment=base_environment(directory.home),
        ),
        prepare=write_config,
        probe=lambda: _probe(address),
        start_seconds=60.0,
        stop_seconds=5.0,
    )


def has_models(directory: DataDirectory) -> bool:
    """Tell whether both neural stages can run here without being told which models to take.

    One engine computes a request: with half of the models `auto` would begin what it cannot finish.
    """
    swap = FaceFusionOptions()
    models = manifest().default_for(ModelRole.LIP_SYNCER), swap.face_swapper_model, swap.face_enhancer_model
    return all((directory.weights / manifest().entry(model).file).is_file() for model in models)


def bucket_environment(store: ObjectStoreAddress) -> dict[str, str]:
    """Return the R2 variables every client of the bucket reads."""
    return {
        "R2_ENDPOINT": store.endpoint_url,
        "R2_BUCKET": store.bucket,
        "R2_ACCESS_KEY_ID": store.access_key_id,
        "R2_SECRET_ACCESS_KEY": store.secret_access_key.get_secret_value(),
        "R2_REGION": store.region,
    }


def thread_limits() -> dict[str, str]:
    """Return the variables that keep numeric libraries from one thread per core and process, and from spinning."""
    limits = {"OMP_NUM_THREADS": _THREADS, "OPENBLAS_NUM_THREADS": _THREADS, "MKL_NUM_THREADS": _THREADS}
    # A thread that waits for the next layer would otherwise burn as much again as the layers do (measured, torch).
    return limits | {"OMP_WAIT_POLICY": "passive"}


def _config(
    directory: DataDirectory, address: GpuEndpointsAddress, store: ObjectStoreAddress, port: int, workers: GpuWorkers
) -> str:
    home = directory.of(ServiceName.CONTROL_PLANE)
    log_dir = directory.logs / "workers"
    log_dir.mkdir(mode=0o700, exist_ok=True)
    mark = directory.mark(ServiceName.CONTROL_PLANE)
    scratch = directory.of("workers") / "scratch"
    environment = (
        bucket_environment(store)
        | thread_limits()
        | {MARK: mark, "PYTHONSAFEPATH": "1", "LIPSWAP_SCRATCH_ROOT": str(scratch)}
        | {"LIPSWAP_WEIGHTS": str(directory.weights)}
    )
    config = ControlPlaneConfig(
        port=port,
        api_key=address.api_key,
        address_file=home / "address.json",
        database=home / "jobs.sqlite",
        log_dir=log_dir,
        endpoints=tuple(_endpoint(directory, name, environment, workers) for name in (WAV2LIP, FACEFUSION)),
    )
    plain = config.model_dump(mode="json") | {"api_key": address.api_key.get_secret_value()}
    return json.dumps(plain, indent=2)


def _endpoint(
    directory: DataDirectory, endpoint: str, environment: dict[str, str], workers: GpuWorkers
) -> EndpointConfig:
    cwd: Path = directory.of("workers") / endpoint
    cwd.mkdir(exist_ok=True)
    # The file that a RunPod account is brought to: the laptop scales by the same rule, with workers of its own.
    said = read_declaration().of(_STAGES[endpoint])
    return EndpointConfig(
        id=endpoint,
        command=workers.commands[endpoint],
        cwd=cwd,
        env=environment,
        min_workers=said.local.workers.min,
        max_workers=workers.at_most or said.local.workers.max,
        idle_seconds=said.local.idle_seconds,
        scaler=said.scaler.type,
        scaler_value=said.scaler.value,
    )


async def _probe(address: GpuEndpointsAddress) -> None:
    authorization = {"Authorization": f"Bearer {address.api_key.get_secret_value()}"}
    for endpoint in (address.wav2lip_endpoint, address.facefusion_endpoint):
        answer = await ask(f"{address.api_base}/{endpoint}/health", headers=authorization)
        # A plane whose workers cannot live is of no use to anybody.
        if not Health.model_validate_json(answer).workers.ready:
            raise NotReady(f"no {endpoint} worker is ready yet; see logs/workers")
