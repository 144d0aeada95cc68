"""The workers of one endpoint while the plane runs: their leases, and how many of them are wanted."""

import asyncio
import math
import time
from dataclasses import dataclass, field
from enum import StrEnum

from deployments.local.control_plane.settings import EndpointConfig, Scaler, Timings


class Phase(StrEnum):
    """STARTING until the first take; RETIRING gets no more jobs; DYING is being killed."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    DYING = "dying"


@dataclass
class Lease:
    """One job held by one worker. Only the holder may report on the job.

    A lease with `stop_since` (monotonic seconds) belongs to a job that is already over for its client.
    """

    job_id: str
    since: float = field(default_factory=time.monotonic)
    stop_since: float | None = None
    stop_sent: bool = False
    missed_pings: int = 0


@dataclass
class Worker:
    id: str
    phase: Phase = Phase.STARTING
    pid: int | None = None
    leases: dict[str, Lease] = field(default_factory=dict)
    idle_since: float = field(default_factory=time.monotonic)
    polls: int = 0
    last_stop_poll: float = 0.0
    stop_signal: asyncio.Event = field(default_factory=asyncio.Event)

    def stopping(self) -> tuple[str, ...]:
        return tuple(lease.job_id for lease in self.leases.values() if lease.stop_since is not None)

    def lease(self, job_id: str) -> None:
        self.leases[job_id] = Lease(job_id)

    def release(self, job_id: str) -> None:
        self.leases.pop(job_id, None)
        if not self.leases:
            self.idle_since = time.monotonic()

    def ignores_a_stop(self, timings: Timings) -> bool:
        """Whether only a kill can end a job of this worker.

        A synchronous handler blocks the SDK's loop, which then neither sees the stop nor polls for the next one.
        """
        now = time.monotonic()
        silent = now - self.last_stop_poll > timings.kill_grace_seconds
        grace = timings.kill_grace_seconds if silent else timings.cleanup_grace_seconds
        stops = (lease.stop_since for lease in self.leases.values())
        return any(stop is not None and now - stop > grace for stop in stops)

    def idle_for(self) -> float:
        """Seconds without any lease."""
        return 0.0 if self.leases else time.monotonic() - self.idle_since


@dataclass(frozen=True)
class Load:
    """What the scaler sees. Jobs of low priority wait but are not counted."""

    queued: int
    leased: int
    oldest_wait_seconds: float
    live: int
    starting: int


def wanted_workers(config: EndpointConfig, load: Load) -> int:
    """How many workers the load asks for, within the endpoint's bounds.

    REQUEST_COUNT: one worker for each `scaler_value` jobs. QUEUE_DELAY: one more than now when the oldest job
    has waited longer than `scaler_value` seconds, or at once when there is none; not while one is starting.
    """
    match config.scaler:
        case Scaler.REQUEST_COUNT:
            wanted = math.ceil((load.queued + load.leased) / config.scaler_value)
        case Scaler.QUEUE_DELAY:
            late = load.queued > 0 and (load.live == 0 or load.oldest_wait_seconds > config.scaler_value)
            busy = min(load.live, load.leased + load.queued)
            wanted = load.live + 1 if late and load.starting == 0 else max(busy, load.starting)
    return max(config.min_workers, min(config.max_workers, wanted))
