"""What a deployment consists of on RunPod, in our words; how each API spells it is its own module's business.

Resources are known by name: RunPod's ids differ between accounts and are nowhere written down.
"""

from enum import StrEnum, unique

from pydantic import BaseModel, ConfigDict, Field

from deployments.local.control_plane.settings import Scaler


@unique
class Kind(StrEnum):
    """Kinds of resources, in the order in which they are made; they are removed in the reverse one."""

    VOLUME = "volume"
    TEMPLATE = "template"
    ENDPOINT = "endpoint"


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Volume(_Resource):
    """A network volume: it keeps its data when endpoints go, and pins them to its data centre."""

    size_gb: int
    data_center: str


class Template(_Resource):
    """Image and environment of a worker. RunPod lets one serverless template serve one endpoint."""

    image: str
    env: dict[str, str]
    disk_gb: int
    registry_auth_id: str | None = None


class Endpoint(_Resource):
    """How many workers of a template run, where, and for how long.

    `scaler_value` is jobs per worker for REQUEST_COUNT and seconds in the queue for QUEUE_DELAY. `volume` and
    `template` are names. `flashboot` is None when the API does not tell.
    """

    template: str
    gpu_types: tuple[str, ...]
    gpu_count: int
    min_cuda: str | None = None
    data_centers: frozenset[str] = frozenset()
    volume: str | None = None
    scaler: Scaler
    scaler_value: int
    workers_min: int
    workers_max: int
    idle_seconds: int
    execution_seconds: int
    flashboot: bool | None = None


Resource = Volume | Template | Endpoint

KINDS: dict[type[Resource], Kind] = {Volume: Kind.VOLUME, Template: Kind.TEMPLATE, Endpoint: Kind.ENDPOINT}


class Found(BaseModel):
    """A resource as the account has it, under the id it has there."""

    model_config = ConfigDict(frozen=True)

    id: str
    resource: Volume | Template | Endpoint = Field(union_mode="left_to_right")

    @property
    def kind(self) -> Kind:
        return KINDS[type(self.resource)]
