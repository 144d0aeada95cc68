"""What an endpoint's counts of workers and jobs mean: busy, starting, without GPUs, crashing, or switched off."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from gpu_tasks.contract.faults import FaultCode


class EndpointHealth(BaseModel):
    """Counts of jobs and workers of an endpoint, by RunPod's names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    jobs: dict[str, int] = Field(default_factory=dict)
    workers: dict[str, int] = Field(default_factory=dict)


class EndpointState(StrEnum):
    """Why a queued job starts soon, later, or never."""

    SERVING = "serving"
    STARTING = "starting"
    ASLEEP = "asleep"
    NO_CAPACITY = "no_capacity"
    CRASH_LOOP = "crash_loop"
    NO_WORKERS = "no_workers"


# What a job that waits at such an endpoint will fail with; None: waiting helps.
FAULTS: Mapping[EndpointState, FaultCode | None] = MappingProxyType(
    {
        EndpointState.SERVING: None,
        EndpointState.STARTING: None,
        EndpointState.ASLEEP: None,
        EndpointState.NO_CAPACITY: None,
        EndpointState.CRASH_LOOP: FaultCode.RUNPOD_WORKERS_CRASH,
        EndpointState.NO_WORKERS: FaultCode.RUNPOD_NO_WORKERS,
    }
)


class EndpointReading(BaseModel):
    """What was found at an endpoint when jobs had waited there for a while."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    endpoint_id: str
    state: EndpointState
    jobs: dict[str, int]
    workers: dict[str, int]
    read_at: datetime

    @classmethod
    def of(cls, endpoint_id: str, health: EndpointHealth, *, now: datetime) -> "EndpointReading":
        return cls(
            endpoint_id=endpoint_id, state=state_of(health), jobs=health.jobs, workers=health.workers, read_at=now
        )


def state_of(health: EndpointHealth) -> EndpointState:
    """Judge one reading. It counts only when a second one says the same: a worker may be between two states.

    Workers that RunPod calls unhealthy are asked for before those that start: an endpoint in a crash loop always has
    one that is just starting. (Four of five "no capacity" cases that users reported were crash loops.)
    """
    workers = health.workers
    if any(workers.get(name, 0) for name in ("ready", "idle", "running")):
        return EndpointState.SERVING
    if workers.get("unhealthy", 0):
        return EndpointState.CRASH_LOOP
    if workers.get("initializing", 0):
        return EndpointState.STARTING
    if workers.get("throttled", 0):
        return EndpointState.NO_CAPACITY
    return EndpointState.NO_WORKERS if health.jobs.get("inQueue", 0) else EndpointState.ASLEEP
