"""Bodies of RunPod's REST v1 as its OpenAPI document has them; a field that it does not name is refused.

That the service refuses unknown fields is not documented: it is stricter here, so that a misspelt one is found here.
"""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from deployments.fleet.gpus import GPU_TYPES
from deployments.local.control_plane.settings import Scaler


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _is_rented(name: str) -> str:
    if name not in GPU_TYPES:
        raise ValueError(f"{name!r} is not one of the GPU types")
    return name


GpuType = Annotated[str, AfterValidator(_is_rented)]


class VolumeCreate(Body):
    name: str = Field(min_length=1)
    size: int = Field(ge=1, le=4000)
    dataCenterId: str


class VolumeUpdate(Body):
    name: str | None = None
    size: int | None = Field(default=None, ge=1, le=4000)


class TemplateUpdate(Body):
    name: str | None = Field(default=None, min_length=1)
    imageName: str | None = Field(default=None, min_length=1)
    env: dict[str, str] | None = None
    containerDiskInGb: int | None = Field(default=None, ge=1)
    containerRegistryAuthId: str | None = None
    dockerEntrypoint: list[str] | None = None
    dockerStartCmd: list[str] | None = None
    isPublic: bool | None = None
    ports: list[str] | None = None
    readme: str | None = None
    volumeInGb: int | None = None
    volumeMountPath: str | None = None


class TemplateCreate(TemplateUpdate):
    name: str = Field(min_length=1)
    imageName: str = Field(min_length=1)
    category: str = "NVIDIA"
    isServerless: bool = False
    containerDiskInGb: int = 50


class EndpointUpdate(Body):
    name: str | None = Field(default=None, max_length=191)
    templateId: str | None = None
    gpuTypeIds: list[GpuType] | None = None
    gpuCount: int | None = Field(default=None, ge=1)
    minCudaVersion: str | None = None
    allowedCudaVersions: list[str] | None = None
    dataCenterIds: list[str] | None = None
    networkVolumeId: str | None = None
    networkVolumeIds: list[str] | None = None
    scalerType: Scaler | None = None
    scalerValue: int | None = Field(default=None, ge=1)
    workersMin: int | None = Field(default=None, ge=0)
    workersMax: int | None = Field(default=None, ge=0)
    idleTimeout: int | None = Field(default=None, ge=1, le=3600)
    executionTimeoutMs: int | None = None
    flashboot: bool | None = None

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.workersMin is not None and self.workersMax is not None and self.workersMin > self.workersMax:
            raise ValueError("workersMin is above workersMax")
        return self


class EndpointCreate(EndpointUpdate):
    templateId: str
    computeType: str = "GPU"
    scalerType: Scaler = Scaler.QUEUE_DELAY
    scalerValue: int = Field(default=4, ge=1)
    workersMin: int = 0
    workersMax: int = 3
    idleTimeout: int = Field(default=5, ge=1, le=3600)
    gpuCount: int = 1
    executionTimeoutMs: int = 600_000


class Misbehaviour(Body):
    """How the server behaves until told otherwise.

    Attributes:
        writes_before_silence: After so many writes, one more is carried out and its answer lost; None is never.
        refuse_after: After so many writes, each further one is refused with 500 and not carried out; None is never.
    """

    writes_before_silence: int | None = None
    refuse_after: int | None = None


Resource = dict[str, Any]
