"""How RunPod's REST v1 spells our resources: both directions, nothing is sent here.

Spellings are those of its OpenAPI document. Two are from use: a name may come back with " -fb" behind it when FlashBoot
is on, and FlashBoot is told in no other way.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from deployments.fleet.dialects import Known, Listing, Write
from deployments.fleet.resources import KINDS, Endpoint, Found, Kind, Resource, Template, Volume
from deployments.local.control_plane.settings import Scaler

PATHS: Final[Mapping[Kind, str]] = {
    Kind.VOLUME: "networkvolumes",
    Kind.TEMPLATE: "templates",
    Kind.ENDPOINT: "endpoints",
}
# Without it the list leaves out exactly the templates that serve an endpoint.
LIST_QUERIES: Final[Mapping[Kind, Mapping[str, str]]] = {Kind.TEMPLATE: {"includeEndpointBoundTemplates": "true"}}
# What a PATCH does not take.
_FIXED: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.VOLUME: frozenset({"dataCenterId"}),
    Kind.TEMPLATE: frozenset({"isServerless", "category"}),
    Kind.ENDPOINT: frozenset({"computeType"}),
}
_FLASHBOOT_MARK: Final = " -fb"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    id: str
    name: str


class _Volume(_Wire):
    size: int
    dataCenterId: str


class _Template(_Wire):
    imageName: str
    # A template of somebody else may have none of these.
    env: dict[str, str] | None = None
    containerDiskInGb: int = 0
    containerRegistryAuthId: str | None = None


class _Endpoint(_Wire):
    templateId: str
    gpuTypeIds: tuple[str, ...] | None = None
    gpuCount: int | None = None
    minCudaVersion: str | None = None
    dataCenterIds: frozenset[str] | None = None
    networkVolumeId: str | None = None
    scalerType: Scaler = Scaler.QUEUE_DELAY
    scalerValue: int = 4
    workersMin: int = 0
    workersMax: int = 0
    idleTimeout: int = 5
    executionTimeoutMs: int = Field(default=0)


class RestV1:
    """The dialect of https://rest.runpod.io/v1."""

    listings: Mapping[Kind, Listing] = MappingProxyType(
        {kind: Listing(f"/{path}", LIST_QUERIES.get(kind, {})) for kind, path in PATHS.items()}
    )

    def read(self, answers: Mapping[Kind, list[dict[str, Any]]]) -> tuple[Found, ...]:
        volumes = [_Volume.model_validate(one) for one in answers[Kind.VOLUME]]
        templates = [_Template.model_validate(one) for one in answers[Kind.TEMPLATE]]
        endpoints = [_Endpoint.model_validate(one) for one in answers[Kind.ENDPOINT]]
        names = {one.id: one.name for one in (*volumes, *templates)}
        return (
            *(Found(id=one.id, resource=_volume(one)) for one in volumes),
            *(Found(id=one.id, resource=_template(one)) for one in templates),
            *(Found(id=one.id, resource=_endpoint(one, names)) for one in endpoints),
        )

    def as_told(self, wanted: Sequence[Resource]) -> tuple[Resource, ...]:
        return tuple(wanted)

    def creating(self, resource: Resource, known: Known) -> Write | None:
        return Write("POST", f"/{PATHS[KINDS[type(resource)]]}", _body(resource, known.ids))

    def updating(self, id_: str, resource: Resource, known: Known) -> Write | None:
        kind = KINDS[type(resource)]
        # The whole of what makes it, less what cannot be changed.
        body = {name: value for name, value in _body(resource, known.ids).items() if name not in _FIXED[kind]}
        return Write("PATCH", f"/{PATHS[kind]}/{id_}", body)

    def deleting(self, id_: str, kind: Kind) -> str | None:
        return f"/{PATHS[kind]}/{id_}"


def _body(resource: Resource, ids: Mapping[tuple[Kind, str], str]) -> dict[str, Any]:
    match resource:
        case Volume():
            return {"name": resource.name, "size": resource.size_gb, "dataCenterId": resource.data_center}
        case Template():
            auth = {"containerRegistryAuthId": resource.registry_auth_id} if resource.registry_auth_id else {}
            return {
                "name": resource.name,
                "imageName": resource.image,
                "env": resource.env,
                "containerDiskInGb": resource.disk_gb,
                "category": "NVIDIA",
                "isServerless": True,
            } | auth
        case Endpoint():
            return _endpoint_body(resource, ids)


def _endpoint_body(endpoint: Endpoint, ids: Mapping[tuple[Kind, str], str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": endpoint.name,
        "templateId": ids[Kind.TEMPLATE, endpoint.template],
        "computeType": "GPU",
        "gpuTypeIds": list(endpoint.gpu_types),
        "gpuCount": endpoint.gpu_count,
        "scalerType": endpoint.scaler,
        "scalerValue": endpoint.scaler_value,
        "workersMin": endpoint.workers_min,
        "workersMax": endpoint.workers_max,
        "idleTimeout": endpoint.idle_seconds,
        "executionTimeoutMs": endpoint.execution_seconds * 1000,
        "flashboot": bool(endpoint.flashboot),
    }
    if endpoint.min_cuda:
        body["minCudaVersion"] = endpoint.min_cuda
    if endpoint.data_centers:
        body["dataCenterIds"] = sorted(endpoint.data_centers)
    if endpoint.volume:
        body["networkVolumeId"] = ids[Kind.VOLUME, endpoint.volume]
    return body


def _volume(said: _Volume) -> Volume:
    return Volume(name=said.name, size_gb=said.size, data_center=said.dataCenterId)


def _template(said: _Template) -> Template:
    return Template(
        name=said.name,
        image=said.imageName,
        env=said.env or {},
        disk_gb=said.containerDiskInGb,
        registry_auth_id=said.containerRegistryAuthId or None,
    )


def _endpoint(said: _Endpoint, names: Mapping[str, str]) -> Endpoint:
    return Endpoint(
        name=said.name.removesuffix(_FLASHBOOT_MARK),
        # An id that no list tells is still a difference that can be shown.
        template=names.get(said.templateId, said.templateId),
        gpu_types=said.gpuTypeIds or (),
        gpu_count=said.gpuCount or 0,
        min_cuda=said.minCudaVersion or None,
        data_centers=said.dataCenterIds or frozenset(),
        volume=names.get(said.networkVolumeId, said.networkVolumeId) if said.networkVolumeId else None,
        scaler=said.scalerType,
        scaler_value=said.scalerValue,
        workers_min=said.workersMin,
        workers_max=said.workersMax,
        idle_seconds=said.idleTimeout,
        execution_seconds=said.executionTimeoutMs // 1000,
        flashboot=True if said.name.endswith(_FLASHBOOT_MARK) else None,
    )
