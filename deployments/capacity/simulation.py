"""What a day's jobs need: one pass over arrivals and workers, by events. Pure, and the same for the same seed.

A job is what a request is: it visits the orchestrators' CPU processes (ingest), a worker of each endpoint, and the CPU
processes again (assembly, inspection, signing), and waits its turn wherever all are at work. An endpoint scales as
REQUEST_COUNT does: a worker per job that waits or works, up to its maximum; a worker that must start first takes
`cold_seconds`, and one without work goes after `idle_seconds`. CPU processes are always there. Time of a request that
takes neither (`around_seconds`) delays it and nobody else.
"""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from deployments.capacity.loads import HostLoad, HostOutcome, Load, Outcome, StageLoad, StageOutcome

DAY_SECONDS = 86_400.0
_HOUR_SECONDS = 3600
_NOON_SECONDS = DAY_SECONDS / 2


@dataclass
class _Endpoint:
    """Workers by the moment until which they stand idle; those that work or start are only counted."""

    load: StageLoad
    idle: list[float] = field(default_factory=list)
    occupied: int = 0
    waiting: list[tuple[float, int, int, int]] = field(default_factory=list)
    busy_seconds: float = 0.0
    billed_seconds: float = 0.0
    cold_starts: int = 0
    most_workers: int = 0
    longest_queue: int = 0

    def expire(self, now: float) -> None:
        """Let workers go that have idled for long enough; the minimum stays, and is billed for the whole time."""
        going = sorted(since for since in self.idle if now - since > self.load.idle_seconds)
        spare = max(0, len(self.idle) + self.occupied - self.load.min_workers)
        for since in going[:spare]:
            self.idle.remove(since)
            self.billed_seconds += self.load.idle_seconds

    def take(self, now: float, job_seconds: float) -> float | None:
        """Give a job to a worker: return when it will have done it, None when all are at work."""
        self.expire(now)
        if self.idle:
            # The one that has idled for the shortest time, so that others can go.
            since = max(self.idle)
            self.idle.remove(since)
            self.billed_seconds += now - since
            start = 0.0
        elif self.occupied < self.load.max_workers:
            self.cold_starts += self.occupied >= self.load.min_workers
            start = self.load.cold_seconds if self.occupied >= self.load.min_workers else 0.0
        else:
            return None
        self.occupied += 1
        self.most_workers = max(self.most_workers, self.occupied + len(self.idle))
        self.busy_seconds += job_seconds
        self.billed_seconds += start + job_seconds
        return now + start + job_seconds

    def release(self, now: float) -> None:
        self.occupied -= 1
        self.idle.append(now)

    def outcome(self, end: float) -> StageOutcome:
        self.expire(end + self.load.idle_seconds + 1)
        # What stands at the end because it must is billed until then.
        self.billed_seconds += sum(max(0.0, end - since) for since in self.idle)
        return StageOutcome(
            name=self.load.name,
            busy_seconds=self.busy_seconds,
            billed_seconds=self.billed_seconds,
            cold_starts=self.cold_starts,
            most_workers=self.most_workers,
            longest_queue=self.longest_queue,
            utilisation=self.busy_seconds / self.billed_seconds if self.billed_seconds else 0.0,
        )


@dataclass(frozen=True)
class _Visit:
    endpoint: _Endpoint
    seconds: float


def simulate(
    load: Load, stages: Sequence[StageLoad], *, host: HostLoad | None = None, arrivals: Sequence[float] | None = None
) -> Outcome:
    """Return how a day goes.

    Args:
        load: How many jobs, and how they come.
        stages: The endpoints, in the order in which a job needs them.
        host: The CPU processes before and after them; without it there are as many as anybody wants.
        arrivals: Seconds at which jobs come; without them they are drawn, evenly or with a busiest hour.
    """
    endpoints = [_Endpoint(stage) for stage in stages]
    pool = _pool(host) if host else None
    route = [_Visit(endpoint, endpoint.load.job_seconds) for endpoint in endpoints]
    if host and pool:
        before, after = (
            [_Visit(pool, seconds) for seconds in each] for each in (host.before_seconds, host.after_seconds)
        )
        route = [*before, *route, *after]
    came = sorted(arrivals if arrivals is not None else _drawn(load))
    ended = [end + load.around_seconds for end in _played(came, route)]
    return _outcome(came, ended, endpoints, pool)


def _pool(host: HostLoad) -> _Endpoint:
    busiest = max((*host.before_seconds, *host.after_seconds))
    return _Endpoint(
        StageLoad(
            name="cpu", job_seconds=busiest, max_workers=host.processes, min_workers=host.processes, cold_seconds=0
        )
    )


def _played(came: Sequence[float], route: Sequence[_Visit]) -> list[float]:
    """Let every job make its visits, whoever comes first is served first; return when each has made its last."""
    tick = count()
    # (moment, order among equal moments, job, visit that begins or has ended, whether it ends)
    events: list[tuple[float, int, int, int, bool]] = [(at, next(tick), job, 0, False) for job, at in enumerate(came)]
    heapq.heapify(events)
    ended = [0.0] * len(came)
    while events:
        now, _, job, visit, is_end = heapq.heappop(events)
        endpoint = route[visit].endpoint
        if is_end:
            endpoint.release(now)
            if visit + 1 < len(route):
                heapq.heappush(events, (now, next(tick), job, visit + 1, False))
            else:
                ended[job] = now
            if not endpoint.waiting:
                continue
            _, _, job, visit = heapq.heappop(endpoint.waiting)
        until = endpoint.take(now, route[visit].seconds)
        if until is None:
            heapq.heappush(endpoint.waiting, (now, next(tick), job, visit))
            endpoint.longest_queue = max(endpoint.longest_queue, len(endpoint.waiting))
        else:
            heapq.heappush(events, (until, next(tick), job, visit, True))
    return ended


def _outcome(
    came: Sequence[float], ended: Sequence[float], endpoints: Sequence[_Endpoint], pool: _Endpoint | None
) -> Outcome:
    took = sorted(end - start for start, end in zip(came, ended, strict=True))
    last = max(ended)
    return Outcome(
        jobs=len(took),
        jobs_per_hour=len(took) / (last - came[0]) * 3600,
        median_seconds=took[len(took) // 2],
        p95_seconds=took[min(len(took) - 1, len(took) * 95 // 100)],
        longest_seconds=took[-1],
        stages=tuple(endpoint.outcome(last) for endpoint in endpoints),
        host=_host_outcome(pool, last - came[0]) if pool else None,
    )


def _host_outcome(pool: _Endpoint, seconds: float) -> HostOutcome:
    processes = pool.load.max_workers
    return HostOutcome(
        processes=processes,
        busy_seconds=pool.busy_seconds,
        longest_queue=pool.longest_queue,
        utilisation=pool.busy_seconds / (processes * seconds),
    )


def _drawn(load: Load) -> list[float]:
    """Draw a day's arrivals: the busiest hour at noon has `peak` times the mean, the rest shares what is left."""
    chance = random.Random(load.seed)  # noqa: S311  # spreads arrivals, guards nothing
    hourly = load.jobs_per_day / 24
    in_peak = min(load.jobs_per_day, round(hourly * load.peak))
    noon = [_NOON_SECONDS + _HOUR_SECONDS * chance.random() for _ in range(in_peak)]
    other = [DAY_SECONDS * chance.random() for _ in range(load.jobs_per_day - in_peak)]
    # Outside of the busiest hour: what fell into it is put before it.
    return noon + [
        at - _HOUR_SECONDS * (1 + int(11 * chance.random())) if 0 <= at - _NOON_SECONDS < _HOUR_SECONDS else at
        for at in other
    ]
