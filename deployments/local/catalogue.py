"""Every service of the stack, in the order of their start."""

from collections.abc import Mapping

from blocks.settings import WorkerType
from deployments.local.application import (
    Neighbours,
    api_service,
    deploy_service,
    orchestrator_service,
    page_service,
)
from deployments.local.credentials import Credentials
from deployments.local.gpu_endpoints import GpuWorkers, control_plane_service, gpu_endpoints_address
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.object_store import object_store_address, object_store_service
from deployments.local.postgres_place import PostgresPlace
from deployments.local.postgres_server import postgres_address, postgres_service
from deployments.local.prefect_server import prefect_address, prefect_service
from deployments.local.services import Service
from deployments.local.valkey_server import valkey_address, valkey_service


def services_of(  # noqa: PLR0913 - each is one separate fact a stack is made of
    directory: DataDirectory,
    ports: Ports,
    credentials: Credentials,
    place: PostgresPlace,
    worker_type: WorkerType,
    *,
    gpu_workers: GpuWorkers,
    protect_api: bool,
    protect_prefect: bool,
    wishes: Mapping[str, str],
) -> tuple[Service, ...]:
    """Return all services of a stack; starting a part of them is the caller's choice."""
    postgres = postgres_address(ports, credentials)
    valkey = valkey_address(ports, credentials)
    store = object_store_address(ports, credentials)
    gpu = gpu_endpoints_address(ports, credentials)
    prefect = prefect_address(ports, credentials.prefect_login() if protect_prefect else None)
    neighbours = Neighbours(
        prefect=prefect,
        gpu=gpu,
        store=store,
        valkey=valkey,
        worker_type=worker_type,
        api_secret=credentials.api_secret if protect_api else None,
        webhook_secret=credentials.webhook_secret(),
        hook_token=credentials.hook_token(),
        api_url=f"http://{HOST}:{ports.api}",
        wishes=wishes,
    )
    pages = (ports.page, ports.api)
    origins = tuple(f"http://{host}:{port}" for port in pages for host in (HOST, "localhost"))
    return (
        postgres_service(directory, postgres, place),
        valkey_service(directory, valkey),
        object_store_service(directory, ports, credentials, store, origins),
        control_plane_service(directory, gpu, store, ports.control_plane, gpu_workers),
        prefect_service(directory, postgres, prefect, ports.prefect),
        deploy_service(directory, neighbours),
        orchestrator_service(directory, neighbours),
        api_service(directory, neighbours, ports.api),
        page_service(directory, neighbours, ports),
    )
