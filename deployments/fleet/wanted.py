"""From the declaration to the resources that an account should have."""

from collections.abc import Iterator, Mapping
from typing import Final

from deployments.fleet.declaration import Declaration, EndpointDeclaration, Workers
from deployments.fleet.errors import DeclarationError
from deployments.fleet.resources import Endpoint, Resource, Template, Volume

CANARY: Final = "canary"


def wanted(declaration: Declaration, environment: Mapping[str, str]) -> tuple[Resource, ...]:
    """Return all resources, in the order in which they are made.

    Raises:
        DeclarationError: Variables that `from_environment` names are not set; all of them are named.
    """
    _check_environment(declaration, environment)
    volumes = tuple(
        Volume(name=full_name(declaration, name), size_gb=volume.size_gb, data_center=volume.data_center)
        for name, volume in declaration.volumes.items()
    )
    pairs = tuple(_pairs(declaration, environment))
    return (*volumes, *(template for template, _ in pairs), *(endpoint for _, endpoint in pairs))


def full_name(declaration: Declaration, name: str, *, canary: bool = False) -> str:
    """Return what a resource is called on RunPod."""
    return "-".join((declaration.prefix, name, *((CANARY,) if canary else ())))


def _pairs(declaration: Declaration, environment: Mapping[str, str]) -> Iterator[tuple[Template, Endpoint]]:
    for name, said in declaration.endpoints.items():
        yield _pair(declaration, full_name(declaration, name), said, declaration.tag, said.workers, environment)
        if said.canary is not None:
            place = full_name(declaration, name, canary=True)
            yield _pair(declaration, place, said, said.canary.tag, said.canary.workers, environment)


def _pair(  # noqa: PLR0913, PLR0917  # each is one separate thing in which a canary differs
    declaration: Declaration,
    name: str,
    said: EndpointDeclaration,
    tag: str,
    workers: Workers,
    environment: Mapping[str, str],
) -> tuple[Template, Endpoint]:
    template = Template(
        name=name,
        image=f"{declaration.registry}/{said.image}:{tag}",
        env=_env(said, environment),
        disk_gb=said.disk_gb,
        registry_auth_id=declaration.registry_auth_id,
    )
    centre = {declaration.volumes[said.volume].data_center} if said.volume else said.data_centers
    endpoint = Endpoint(
        name=name,
        template=name,
        gpu_types=said.gpu_types,
        gpu_count=said.gpu_count,
        min_cuda=said.min_cuda,
        data_centers=frozenset(centre),
        volume=full_name(declaration, said.volume) if said.volume else None,
        scaler=said.scaler.type,
        scaler_value=said.scaler.value,
        workers_min=workers.min,
        workers_max=workers.max,
        idle_seconds=said.idle_seconds,
        execution_seconds=said.execution_seconds,
        flashboot=said.flashboot,
    )
    return template, endpoint


def _env(said: EndpointDeclaration, environment: Mapping[str, str]) -> dict[str, str]:
    # RunPod replaces the reference when a worker starts; the value is never ours to see.
    secrets = {variable: f"{{{{ RUNPOD_SECRET_{name} }}}}" for variable, name in said.secrets.items()}
    return said.env | {name: environment[name] for name in said.from_environment} | secrets


def _check_environment(declaration: Declaration, environment: Mapping[str, str]) -> None:
    named = {name for said in declaration.endpoints.values() for name in said.from_environment}
    if missing := sorted(name for name in named if not environment.get(name)):
        raise DeclarationError(
            f"Not set in this environment: {', '.join(missing)}. The declaration gives them to the workers "
            "(from_environment); export them, or name them under env."
        )
