"""How RunPod's REST v2 spells our resources. Nothing is sent here.

From the examples of its OpenAPI document (2.0.0): an endpoint holds image and environment itself, so that our template
is a part of it; GPUs are named by pool. Nobody could try it on the real service, and how a private registry is named
there is in no example: with `registry_auth_id` it is refused.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from deployments.fleet.dialects import Known, Listing, Write
from deployments.fleet.errors import DeclarationError
from deployments.fleet.gpus import POOLS
from deployments.fleet.resources import Endpoint, Found, Kind, Resource, Template, Volume
from deployments.local.control_plane.settings import Scaler

_SERVERLESS: Final = "/serverless"
_VOLUMES: Final = "/network-volumes"
_VALUES: Final[Mapping[Scaler, str]] = {Scaler.REQUEST_COUNT: "requestCount", Scaler.QUEUE_DELAY: "queueDelay"}
_OFF, _ON = "OFF", "FLASHBOOT"


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Gpu(_Wire):
    pools: tuple[str, ...] = ()
    count: int = 1
    minCudaVersion: str | None = None


class _Workers(_Wire):
    min: int = 0
    max: int = 0
    idleTimeout: int = 5


class _Scaling(_Wire):
    type: Scaler = Scaler.QUEUE_DELAY
    queueDelay: int | None = None
    requestCount: int | None = None

    @property
    def value(self) -> int:
        return int(getattr(self, _VALUES[self.type]) or 0)


class _Endpoint(_Wire):
    id: str
    name: str
    image: str = ""
    disk: int = 0
    env: dict[str, str] | None = None
    gpu: _Gpu | None = None
    workers: _Workers
    scaling: _Scaling
    dataCenterIds: frozenset[str] = frozenset()
    networkVolumes: tuple[str, ...] = ()
    timeout: int
    flashboot: str = _OFF


class _Volume(_Wire):
    id: str
    name: str
    size: int
    dataCenter: str


class RestV2:
    """The dialect of https://api.runpod.io/v2."""

    listings: Mapping[Kind, Listing] = MappingProxyType(
        {
            Kind.VOLUME: Listing(_VOLUMES, {}, "networkVolumes"),
            Kind.ENDPOINT: Listing(_SERVERLESS, {}, "endpoints"),
        }
    )

    def read(self, answers: Mapping[Kind, list[dict[str, Any]]]) -> tuple[Found, ...]:
        volumes = [_Volume.model_validate(one) for one in answers[Kind.VOLUME]]
        endpoints = [_Endpoint.model_validate(one) for one in answers[Kind.ENDPOINT]]
        names = {one.id: one.name for one in volumes}
        return (
            *(
                Found(id=one.id, resource=Volume(name=one.name, size_gb=one.size, data_center=one.dataCenter))
                for one in volumes
            ),
            *(Found(id=one.id, resource=_template(one)) for one in endpoints),
            *(Found(id=one.id, resource=_endpoint(one, names)) for one in endpoints),
        )

    def as_told(self, wanted: Sequence[Resource]) -> tuple[Resource, ...]:
        """Name GPUs by their pools; of two types in one pool nothing tells which is rented first.

        Raises:
            DeclarationError: A GPU type is in no pool, or a private registry is named.
        """
        return tuple(_pooled(one) if isinstance(one, Endpoint) else _checked(one) for one in wanted)

    def creating(self, resource: Resource, known: Known) -> Write | None:
        match resource:
            case Volume():
                body = {"name": resource.name, "size": resource.size_gb, "dataCenter": resource.data_center}
                return Write("POST", _VOLUMES, body)
            case Template():
                return None
            case Endpoint():
                container = _container(known.wanted[Kind.TEMPLATE, resource.template])
                return Write("POST", _SERVERLESS, container | _endpoint_body(resource, known))

    def updating(self, id_: str, resource: Resource, known: Known) -> Write | None:
        match resource:
            case Volume():
                return Write("PATCH", f"{_VOLUMES}/{id_}", {"name": resource.name, "size": resource.size_gb})
            case Template():
                return Write("PATCH", f"{_SERVERLESS}/{id_}", _container(resource))
            case Endpoint():
                return Write("PATCH", f"{_SERVERLESS}/{id_}", _endpoint_body(resource, known))

    def deleting(self, id_: str, kind: Kind) -> str | None:
        return {Kind.VOLUME: f"{_VOLUMES}/{id_}", Kind.ENDPOINT: f"{_SERVERLESS}/{id_}"}.get(kind)


def _container(template: Resource) -> dict[str, Any]:
    said = Template.model_validate(template)
    return {"image": said.image, "env": said.env, "disk": said.disk_gb}


def _endpoint_body(endpoint: Endpoint, known: Known) -> dict[str, Any]:
    gpu: dict[str, Any] = {"pools": list(endpoint.gpu_types), "count": endpoint.gpu_count}
    if endpoint.min_cuda:
        gpu["minCudaVersion"] = endpoint.min_cuda
    body: dict[str, Any] = {
        "name": endpoint.name,
        "gpu": gpu,
        "workers": {
            "min": endpoint.workers_min,
            "max": endpoint.workers_max,
            "idleTimeout": endpoint.idle_seconds,
        },
        "scaling": {"type": endpoint.scaler, _VALUES[endpoint.scaler]: endpoint.scaler_value},
        "timeout": endpoint.execution_seconds * 1000,
        "flashboot": _ON if endpoint.flashboot else _OFF,
        "networkVolumes": [known.ids[Kind.VOLUME, endpoint.volume]] if endpoint.volume else [],
    }
    if endpoint.data_centers:
        body["dataCenterIds"] = sorted(endpoint.data_centers)
    return body


def _pooled(endpoint: Endpoint) -> Endpoint:
    if unknown := [name for name in endpoint.gpu_types if name not in POOLS]:
        raise DeclarationError(
            f"{unknown[0]} is in no GPU pool that RunPod's REST v2 names; choose of {', '.join(sorted(POOLS))}, "
            "or set RUNPOD_REST_BASE=https://rest.runpod.io/v1 for as long as that lives."
        )
    return endpoint.model_copy(update={"gpu_types": tuple(dict.fromkeys(POOLS[name] for name in endpoint.gpu_types))})


def _checked(resource: Resource) -> Resource:
    if isinstance(resource, Template) and resource.registry_auth_id:
        raise DeclarationError(
            "registry_auth_id is not built for RunPod's REST v2; set RUNPOD_REST_BASE=https://rest.runpod.io/v1, or "
            "use a public image."
        )
    return resource


def _template(said: _Endpoint) -> Template:
    return Template(name=said.name, image=said.image, env=said.env or {}, disk_gb=said.disk)


def _endpoint(said: _Endpoint, names: Mapping[str, str]) -> Endpoint:
    gpu = said.gpu or _Gpu()
    volume = said.networkVolumes[0] if said.networkVolumes else None
    return Endpoint(
        name=said.name,
        template=said.name,
        gpu_types=gpu.pools,
        gpu_count=gpu.count,
        min_cuda=gpu.minCudaVersion or None,
        data_centers=said.dataCenterIds,
        volume=names.get(volume, volume) if volume else None,
        scaler=said.scaling.type,
        scaler_value=said.scaling.value,
        workers_min=said.workers.min,
        workers_max=said.workers.max,
        idle_seconds=said.workers.idleTimeout,
        execution_seconds=said.timeout // 1000,
        flashboot=said.flashboot != _OFF,
    )
