"""The declaration: one YAML file says what runs, on RunPod and on a laptop. Its reader names what is wrong in it.

Secrets are never in it: `secrets` names RunPod secrets, which RunPod itself puts into a worker's environment, and
`from_environment` names variables of the one who deploys, for values such as the bucket's name.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from deployments.bucket.policy import BucketPolicy
from deployments.fleet.errors import DeclarationError
from deployments.fleet.gpus import GPU_TYPES
from deployments.local.control_plane.settings import Scaler
from gpu_tasks.contract.jobs import Stage

DEFAULT_FILE: Final = Path(__file__).parents[1] / "lipswap.yaml"
_TAG: Final = r"^\d{8}-[1-9]\d*$"
_VARIABLE: Final = r"^[A-Z][A-Z0-9_]*$"


def _known_gpu(name: str) -> str:
    if name not in GPU_TYPES:
        near = difflib.get_close_matches(name, GPU_TYPES, n=1)
        raise ValueError(f"RunPod has no GPU type {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return name


GpuType = Annotated[str, AfterValidator(_known_gpu)]
Tag = Annotated[str, Field(pattern=_TAG, description="YYYYMMDD-n: the n-th image of a day.")]
Variable = Annotated[str, Field(pattern=_VARIABLE)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Workers(_Part):
    """How many workers stay, and how many there may be."""

    min: int = Field(default=0, ge=0)
    max: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _are_ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class ScalerRule(_Part):
    """When another worker is started; see `Endpoint` in resources."""

    type: Scaler = Scaler.REQUEST_COUNT
    value: int = Field(default=1, ge=1)


class Canary(_Part):
    """A second endpoint with another image that gets `weight` percent of the jobs."""

    tag: Tag
    weight: int = Field(ge=0, le=100)
    workers: Workers = Workers()


class LocalWorkers(_Part):
    """What a laptop has of an endpoint. At least one worker stays: a stack is up when its workers are."""

    workers: Workers = Workers(min=1, max=2)
    idle_seconds: float = Field(default=60, ge=0)


class EndpointDeclaration(_Part):
    """One endpoint and the template of its workers."""

    stage: Stage
    image: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    gpu_types: tuple[GpuType, ...] = Field(min_length=1)
    gpu_count: int = Field(default=1, ge=1)
    min_cuda: str | None = Field(default=None, pattern=r"^\d+\.\d$")
    data_centers: frozenset[str] = frozenset()
    volume: str | None = None
    workers: Workers
    scaler: ScalerRule = ScalerRule()
    idle_seconds: int = Field(ge=1, le=3600)
    execution_seconds: int = Field(ge=5, le=7 * 24 * 3600)
    disk_gb: int = Field(ge=1)
    flashboot: bool = False
    env: dict[Variable, str] = Field(default_factory=dict)
    from_environment: tuple[Variable, ...] = ()
    secrets: dict[Variable, str] = Field(default_factory=dict)
    canary: Canary | None = None
    local: LocalWorkers = LocalWorkers()

    @model_validator(mode="after")
    def _names_every_variable_once(self) -> Self:
        names = [*self.env, *self.from_environment, *self.secrets]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} is given twice")
        return self


class VolumeDeclaration(_Part):
    """A network volume; removed only when `destroy` is told to."""

    size_gb: int = Field(ge=1, le=4000)
    data_center: str


class Declaration(_Part):
    """Everything. Names on RunPod are `{prefix}-{name}`, so that one account may hold several deployments."""

    prefix: str = Field(pattern=r"^[a-z][a-z0-9-]{1,40}$")
    registry: str = Field(pattern=r"^[a-z0-9][a-z0-9.:/_-]*[a-z0-9]$")
    registry_auth_id: str | None = None
    tag: Tag
    worker_quota: int = Field(
        ge=1, description="How many workers the account may have in all; RunPod tells it by mail."
    )
    volumes: dict[str, VolumeDeclaration] = Field(default_factory=dict)
    endpoints: dict[str, EndpointDeclaration] = Field(min_length=1)
    bucket: BucketPolicy = BucketPolicy()

    @model_validator(mode="after")
    def _names_what_it_has(self) -> Self:
        for name, endpoint in self.endpoints.items():
            if endpoint.volume is not None and endpoint.volume not in self.volumes:
                raise ValueError(f"endpoint {name} uses the volume {endpoint.volume}, which is not declared")
        stages = [endpoint.stage for endpoint in self.endpoints.values()]
        if len(set(stages)) != len(stages):
            raise ValueError("two endpoints have the same stage; for a second image use canary")
        return self

    def of(self, stage: Stage) -> EndpointDeclaration:
        """Return the endpoint of a stage.

        Raises:
            DeclarationError: There is none.
        """
        for endpoint in self.endpoints.values():
            if endpoint.stage is stage:
                return endpoint
        raise DeclarationError(f"The declaration has no endpoint with stage {stage}; add one.")


def read_declaration(path: Path = DEFAULT_FILE) -> Declaration:
    """Read and check a declaration.

    Raises:
        DeclarationError: It cannot be read, or says something that cannot be; the sentence names the place.
    """
    try:
        said = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506  # derives from SafeLoader
    except OSError as error:
        raise DeclarationError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{path} is no YAML: {_in_one_line(str(error))}.") from error
    try:
        return Declaration.model_validate(said)
    except ValidationError as error:
        raise DeclarationError(f"{path}: {'; '.join(_sentences(error))}.") from error


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping; of two endpoints of one name YAML would keep the second."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401, FBT001, FBT002  # yaml's signature
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        yield f"{place}: {problem['msg'].removeprefix('Value error, ')}"


def _in_one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
