"""What the supervisor keeps running, as data, and what it tells about it."""

from collections.abc import Awaitable, Callable
from enum import StrEnum, unique

from pydantic import BaseModel, ConfigDict

from deployments.local.processes import Program


@unique
class ServiceName(StrEnum):
    """The parts of a stack."""

    POSTGRES = "postgres"
    VALKEY = "valkey"
    OBJECT_STORE = "object_store"
    CONTROL_PLANE = "control_plane"
    PREFECT_SERVER = "prefect_server"
    DEPLOY = "deploy"
    ORCHESTRATOR = "orchestrator"
    API = "api"
    PAGE = "page"


class Service(BaseModel):
    """One program with its place in the order, and how to know that it works.

    Attributes:
        prepare: Runs before every start, e.g. to create a database cluster. Must be idempotent.
        probe: Returns when the service does its work, raises `NotReady` until then. Called again and again.
        settle: Succeeds once after the first successful probe, e.g. to create a database; raises `NotReady` to be
            called again. Must be idempotent.
        start_seconds: Deadline from the start of the program to a successful probe.
        stop_seconds: How long the program may take to end by itself.
        one_shot: The program ends by itself; exit code 0 is its success, and it is not started again.
    """

    model_config = ConfigDict(frozen=True)

    name: ServiceName
    program: Program
    depends_on: frozenset[ServiceName] = frozenset()
    prepare: Callable[[], Awaitable[None]] | None = None
    probe: Callable[[], Awaitable[None]] | None = None
    settle: Callable[[], Awaitable[None]] | None = None
    start_seconds: float = 60.0
    stop_seconds: float = 3.0
    one_shot: bool = False


@unique
class Happening(StrEnum):
    """What the supervisor reports."""

    NOTICE = "notice"
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    GAVE_UP = "gave up"
    STOPPED = "stopped"
    KILLED = "killed"


class StackEvent(BaseModel):
    """One report. `seconds` is how long the start or the stop took; `service` is None for the stack as a whole."""

    model_config = ConfigDict(frozen=True)

    what: Happening
    service: ServiceName | None = None
    seconds: float | None = None
    detail: str = ""


OnEvent = Callable[[StackEvent], None]


def with_dependencies(wanted: frozenset[ServiceName], services: tuple[Service, ...]) -> tuple[Service, ...]:
    """Return the wanted services and all they stand on, in the order given."""
    by_name = {service.name: service for service in services}
    needed: set[ServiceName] = set()
    open_names = list(wanted)
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed.add(name)
            open_names.extend(by_name[name].depends_on)
    return tuple(service for service in services if service.name in needed)


def stop_layers(services: tuple[Service, ...]) -> tuple[tuple[ServiceName, ...], ...]:
    """Return the names in the order of stopping: a layer's members stop together, nothing before its dependents."""
    remaining = {service.name: service for service in services}
    layers = []
    while remaining:
        needed = {name for service in remaining.values() for name in service.depends_on}
        layer = tuple(name for name in remaining if name not in needed)
        if not layer:
            raise ValueError(f"services depend on each other in a circle: {sorted(remaining)}")
        layers.append(layer)
        for name in layer:
            del remaining[name]
    return tuple(layers)
