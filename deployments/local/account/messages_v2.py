"""Bodies of RunPod's REST v2 as the examples of its OpenAPI document have them; unknown fields are refused too."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from deployments.fleet.gpus import POOLS
from deployments.local.account.messages import Body
from deployments.local.control_plane.settings import Scaler


def _is_a_pool(name: str) -> str:
    if name not in POOLS.values():
        raise ValueError(f"{name!r} is not one of the GPU pools")
    return name


class Gpu(Body):
    pools: list[Annotated[str, AfterValidator(_is_a_pool)]] = Field(min_length=1)
    count: int = Field(default=1, ge=1)
    allowedCudaVersions: list[str] = Field(default_factory=list)
    minCudaVersion: str | None = None


class Workers(Body):
    min: int = Field(default=0, ge=0)
    max: int = Field(default=3, ge=0)
    idleTimeout: int = Field(default=5, ge=1, le=3600)

    @model_validator(mode="after")
    def _are_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Scaling(Body):
    type: Scaler = Scaler.QUEUE_DELAY
    queueDelay: int | None = Field(default=None, ge=1)
    requestCount: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_its_own_value(self) -> Self:
        own, other = self.queueDelay, self.requestCount
        if self.type is Scaler.REQUEST_COUNT:
            own, other = other, own
        if own is None or other is not None:
            raise ValueError("queueDelay belongs to QUEUE_DELAY and requestCount to REQUEST_COUNT")
        return self


class EndpointUpdate(Body):
    name: str | None = Field(default=None, min_length=1)
    image: str | None = Field(default=None, min_length=1)
    env: dict[str, str] | None = None
    disk: int | None = Field(default=None, ge=1)
    gpu: Gpu | None = None
    workers: Workers | None = None
    scaling: Scaling | None = None
    dataCenterIds: list[str] | None = None
    networkVolumes: list[str] | None = None
    timeout: int | None = Field(default=None, ge=1000)
    flashboot: Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"] | None = None


class EndpointCreate(EndpointUpdate):
    name: str = Field(min_length=1)
    image: str = Field(min_length=1)
    gpu: Gpu
    workers: Workers = Workers()
    scaling: Scaling = Scaling(queueDelay=4)
    dataCenterIds: list[str] = Field(default_factory=list)
    networkVolumes: list[str] = Field(default_factory=list)
    timeout: int = 300_000
    flashboot: Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"] = "OFF"


class VolumeUpdate(Body):
    name: str | None = None
    size: int | None = Field(default=None, ge=1, le=4000)


class VolumeCreate(Body):
    name: str = Field(min_length=1)
    size: int = Field(ge=1, le=4000)
    dataCenter: str
    type: Literal["STANDARD", "HIGH_PERFORMANCE"] = "STANDARD"
