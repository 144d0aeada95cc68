"""What a GPU job has cost: every execution on a worker, with its cause, its seconds and its end. Pure.

RunPod bills a worker from its start to its stop. What is told here is the time in which the worker had the job, rounded
up to full seconds as RunPod does; starting a cold worker and keeping a warm one idle come on top of it.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.receipts import AttemptEnd, Claim, Receipt, StartMarker

# Why RunPod ran an attempt again by itself: its worker died, or the worker's answer was lost.
RESTARTED = "restarted_by_runpod"
# A worker has begun what no claim names: somebody has removed the claim.
UNCLAIMED = "unclaimed"


class Spent(BaseModel):
    """Billed GPU seconds and US dollars; `usd` is null as soon as one of its parts has no price."""

    model_config = ConfigDict(frozen=True)

    gpu_seconds: float = 0.0
    usd: float | None = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        usd = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Spent(gpu_seconds=self.gpu_seconds + other.gpu_seconds, usd=usd)


class ExecutionEntry(BaseModel):
    """One execution of an attempt on a worker; `execution` 0: the attempt never came to a worker.

    `outcome` is `completed`, the code of a fault, RunPod's status, or `open` while nobody knows better. The seconds of
    an execution that nobody has told the end of are an upper bound: `is_estimate`.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    fingerprint: str
    attempt: int
    execution: int
    cause: str
    task_id: str
    endpoint_id: str
    job_id: str | None
    worker_id: str | None
    claimed_at: datetime
    started_at: datetime | None
    delay_seconds: float | None
    gpu_seconds: float
    is_estimate: bool
    usd: float | None
    outcome: str

    # The most that it can cost while it is open, at its price; what RunPod is told to stop it after.
    limit_seconds: float
    usd_per_second: float | None

    @property
    def spent(self) -> Spent:
        return Spent(gpu_seconds=self.gpu_seconds, usd=self.usd)

    @property
    def most(self) -> Spent:
        """What it can cost at most."""
        return Spent(gpu_seconds=self.limit_seconds, usd=_price(self.limit_seconds, self.usd_per_second))


class JobAccount(BaseModel):
    """All executions of one job, first attempt first."""

    model_config = ConfigDict(frozen=True)

    stage: str
    fingerprint: str
    executions: tuple[ExecutionEntry, ...]

    @property
    def tasks(self) -> frozenset[str]:
        return frozenset(entry.task_id for entry in self.executions)

    @property
    def worked(self) -> tuple[ExecutionEntry, ...]:
        """The executions that came to a worker: what is paid for."""
        return tuple(entry for entry in self.executions if entry.execution > 0)

    @property
    def repeats(self) -> tuple[ExecutionEntry, ...]:
        """Every paid execution beyond the first; each has a cause other than `first`."""
        return self.worked[1:]

    def spent(self, task_id: str | None = None) -> Spent:
        """Return what all runs have paid, or one of them."""
        mine = (entry.spent for entry in self.executions if task_id is None or entry.task_id == task_id)
        return sum(mine, Spent())


class Traces(NamedTuple):
    """What flow and workers have left of one job in the bucket."""

    stage: str
    fingerprint: str
    claims: Sequence[Claim] = ()
    markers: Sequence[StartMarker] = ()
    ends: Sequence[AttemptEnd] = ()
    receipt: Receipt | None = None


def account_of(traces: Traces, *, now: datetime) -> JobAccount:
    """Put together what has been left of a job."""
    claim_of = {claim.attempt: claim for claim in traces.claims}
    end_of = {end.attempt: end for end in traces.ends}
    entries: list[ExecutionEntry] = []
    for attempt in sorted({*claim_of, *(marker.attempt for marker in traces.markers)}):
        started = sorted((one for one in traces.markers if one.attempt == attempt), key=lambda one: one.execution)
        claim = claim_of.get(attempt) or _unclaimed(started[0])
        mine = traces.receipt if traces.receipt is not None and traces.receipt.attempt == attempt else None
        entries += _attempt(claim, started, end_of.get(attempt), mine, now)
    return JobAccount(stage=traces.stage, fingerprint=traces.fingerprint, executions=tuple(entries))


def _attempt(
    claim: Claim, started: Sequence[StartMarker], end: AttemptEnd | None, receipt: Receipt | None, now: datetime
) -> Iterable[ExecutionEntry]:
    if not started:
        # A worker that leaves no marker was sent away before it began, or is not one of ours.
        seconds = (end.execution_seconds if end else None) or (receipt.work_seconds if receipt else 0.0)
        execution = 1 if seconds or receipt else 0
        yield _entry(claim, None, end, execution=execution, seconds=seconds, outcome=_outcome(end, receipt))
        return
    for marker, following in zip(started, (*started[1:], None), strict=True):
        if following is not None:
            seconds = _capped((following.started_at - marker.started_at).total_seconds(), claim)
            yield _entry(
                claim,
                marker,
                None,
                execution=marker.execution,
                seconds=seconds,
                outcome=FaultCode.RUNPOD_JOB_FAILED.value,
                is_estimate=True,
            )
            continue
        mine = receipt if receipt is not None and receipt.execution == marker.execution else None
        told = (end.execution_seconds if end else None) or (mine.work_seconds if mine else None)
        # A superseded attempt was given up before its worker began, if one did.
        until = end.ended_at if end and end.ended_at > marker.started_at else now
        seconds = _capped((until - marker.started_at).total_seconds(), claim) if told is None else told
        yield _entry(
            claim,
            marker,
            end,
            execution=marker.execution,
            seconds=seconds,
            outcome=_outcome(end, mine),
            is_estimate=told is None,
        )


def _entry(  # noqa: PLR0913  # each a fact of the entry
    claim: Claim,
    marker: StartMarker | None,
    end: AttemptEnd | None,
    *,
    execution: int,
    seconds: float,
    outcome: str,
    is_estimate: bool = False,
) -> ExecutionEntry:
    return ExecutionEntry(
        stage=claim.stage,
        fingerprint=claim.fingerprint,
        attempt=claim.attempt,
        execution=execution,
        cause=RESTARTED if execution > 1 else claim.cause,
        task_id=claim.task_id,
        endpoint_id=claim.endpoint_id,
        job_id=claim.job_id or (marker.job_id if marker else None),
        worker_id=marker.worker_id if marker else (end.worker_id if end else None),
        claimed_at=claim.claimed_at,
        started_at=marker.started_at if marker else None,
        delay_seconds=end.delay_seconds if end else None,
        gpu_seconds=round(seconds, 3),
        is_estimate=is_estimate,
        usd=_price(seconds, claim.usd_per_second),
        outcome=outcome,
        limit_seconds=claim.execution_seconds or 0.0,
        usd_per_second=claim.usd_per_second,
    )


def _price(seconds: float, usd_per_second: float | None) -> float | None:
    """Return US dollars: full seconds, as RunPod bills; None without a price, but what took no time is free."""
    if not seconds:
        return 0.0
    return None if usd_per_second is None else round(math.ceil(seconds) * usd_per_second, 6)


def _outcome(end: AttemptEnd | None, receipt: Receipt | None) -> str:
    if receipt is not None or (end is not None and end.status == "COMPLETED" and end.fault is None):
        return "completed"
    if end is None:
        return "open"
    return end.fault.value if end.fault else end.status.lower()


def _capped(seconds: float, claim: Claim) -> float:
    """RunPod stops an execution after the job's execution timeout: it cannot have cost more."""
    return max(0.0, seconds if claim.execution_seconds is None else min(seconds, claim.execution_seconds))


def _unclaimed(marker: StartMarker) -> Claim:
    return Claim(
        fingerprint=marker.fingerprint,
        stage=marker.stage,
        attempt=marker.attempt,
        task_id="",
        cause=UNCLAIMED,
        claimed_at=marker.started_at,
        endpoint_id="",
        job_id=marker.job_id,
    )
