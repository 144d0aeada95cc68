"""A submitted job until it has ended: looked at, diagnosed while it waits in vain, stopped when its time is over."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from blocks.endpoint_health import FAULTS, EndpointReading
from blocks.job_store import JobStore, JobStoreError
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobStatus, JobView, RunPodError
from blocks.sweep import Look, Sweep, WatchedJob
from blocks.wakes import Waker
from flows import verdict
from flows.errors import JobError
from flows.ledger import JobLedger
from flows.stopping import attempt_end, stop_job
from flows.verdict import End
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.receipts import AttemptEnd, Claim, Progress, Receipt
from gpu_tasks.storage import StorageError

# RunPod may answer 404 for a job that it has just accepted.
_YOUNG_SECONDS = 10.0
_WAKER_SECONDS = 60.0
# What ends an attempt although nothing is wrong with the job.
_OWNERS_REASONS = frozenset({FaultCode.CANCELLED, FaultCode.DEADLINE_EXCEEDED})


class JobNews(NamedTuple):
    """How a job stands, for the record. `is_ours`: this run has submitted it, and does not only wait for it.

    `is_stopped`: what RunPod said after we had cancelled it, None while nobody has.
    """

    claim: Claim
    job_id: str
    is_ours: bool
    status: JobStatus
    progress: Progress | None
    is_stopped: bool | None = None


Report = Callable[[JobNews], Awaitable[None]]


class TimeLimit(NamedTuple):
    """When the waiting ends (monotonic seconds), and with which fault."""

    at: float
    fault: Fault

    @property
    def left_seconds(self) -> float:
        return self.at - time.monotonic()


@dataclass
class Follower:
    """Waits for one submitted attempt.

    Attributes:
        claim: The attempt, with its job id.
        is_ours: Whether this run has submitted it.
        endpoint: How patiently.
        jobs: Where an endpoint's health is left for others.
        ledger: The job's entries in the bucket.
        limit: When the run gives up.
        report: Told how the job stands.
    """

    claim: Claim
    is_ours: bool
    endpoint: RunPodEndpoint
    jobs: JobStore
    ledger: JobLedger
    limit: TimeLimit
    report: Report

    def __post_init__(self) -> None:
        self._queued_since: float | None = None
        self._last_view: JobView | None = None

    async def follow(self, waker: Waker) -> End | Receipt:
        """Return the receipt when it is in the bucket, otherwise how the attempt ended.

        Raises:
            JobError: The time limit has passed.
            RunPodError: RUNPOD_KEY_REFUSED. An outage is no news of the job and is borne until the limit.
            StorageError: The bucket is away.
        """
        sweep = self.endpoint.sweep(self.claim.endpoint_id)
        job_id = self.claim.job_id or ""
        outage: RunPodError | None = None
        number = 0
        with sweep.watching(job_id, slowest_seconds=self.endpoint.poll_interval_seconds) as watched:
            async with _hurried(sweep, watched, waker):
                while True:
                    look = await self._next(watched, number)
                    if look is None:
                        fault = outage.fault if outage else self.limit.fault
                        raise JobError.of(fault, stage=self.claim.stage)
                    is_first, number, outage = number == 0, look.number, look.outage
                    if outage is not None and outage.fault.code is FaultCode.RUNPOD_KEY_REFUSED:
                        raise outage
                    if look.view is not None:
                        self._last_view = look.view
                        await self._tell(look.view)
                    if self._is_over(look):
                        return await self._ended(look.view, is_first=is_first)
                    if look.view is not None and self.is_ours:
                        found = await self._diagnosed(look.view, sweep)
                        if found is not None:
                            return found

    async def stop(self, fault: Fault) -> None:
        """Stop the job, and write down why and whether RunPod says that it has stopped."""
        stopped = await stop_job(self.endpoint.client(), self.claim.endpoint_id, self.claim.job_id or "")
        view = stopped.view or self._last_view
        status = stopped.view.status if stopped.view else JobStatus.CANCELLED
        # One that was done before the word came has its result: whoever asks next finds the receipt.
        told = None if status is JobStatus.COMPLETED else fault
        await self._write(attempt_end(self.claim, status, told, view, is_stopped=stopped.is_confirmed))
        await self.report(
            JobNews(self.claim, self.claim.job_id or "", self.is_ours, status, None, stopped.is_confirmed)
        )

    async def _next(self, watched: WatchedJob, number: int) -> Look | None:
        """Return the look after the one with this number, None when the time limit comes first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self.limit.left_seconds)):
                return await watched.look_after(number)
        return None

    def _is_over(self, look: Look) -> bool:
        if look.view is not None:
            return look.view.status.is_final
        return look.outage is None and _age_seconds(self.claim) > _YOUNG_SECONDS

    async def _ended(self, view: JobView | None, *, is_first: bool) -> End | Receipt:
        """Say how the attempt ended. The receipt decides: RunPod's word without it counts for nothing."""
        claim = self.claim
        try:
            receipt = await asyncio.to_thread(self.ledger.receipt)
        except StorageError as error:
            if error.fault.code is not FaultCode.OBJECT_CORRUPT:
                raise
            await asyncio.to_thread(self.ledger.discard)
            status = view.status if view else verdict.LOST
            found = End(claim.attempt, error.fault, error.fault.code.value, status)
        else:
            if receipt is not None:
                # Its owner writes how long it took; without that word the receipt tells it.
                if self.is_ours:
                    await self._write(attempt_end(claim, JobStatus.COMPLETED, None, view))
                return receipt
            found = verdict.judge(claim.attempt, view) if view else self._gone()
        known = None if self.is_ours else await asyncio.to_thread(self.ledger.end_of, claim.attempt)
        if known is not None and known.fault in _OWNERS_REASONS:
            # Its owner stopped it for a reason of its own.
            return found._replace(cause=known.fault.value, is_foreign=True)
        # Why another run's job was cancelled its owner knows better, and is just writing it down.
        if self.is_ours or found.status != JobStatus.CANCELLED:
            await self._write(attempt_end(claim, found.status, found.fault, view))
        return found._replace(is_foreign=is_first and not self.is_ours)

    def _gone(self) -> End:
        life = self.claim.life_seconds
        return verdict.gone(self.claim.attempt, is_expired=life is not None and _age_seconds(self.claim) > life)

    async def _diagnosed(self, view: JobView, sweep: Sweep) -> End | None:
        """Look at the endpoint's workers when a job waits; stop it and say why when none will come for it."""
        if view.status is not JobStatus.IN_QUEUE:
            self._queued_since = None
            return None
        now = time.monotonic()
        self._queued_since = self._queued_since or now
        waited = now - self._queued_since
        if waited < min(self.endpoint.diagnose_after_seconds, self.endpoint.queue_timeout_seconds):
            return None
        reading, standing_seconds = await self._health(sweep)
        fault = FAULTS[reading.state] if reading else None
        is_certain = standing_seconds >= self.endpoint.diagnose_after_seconds
        if fault is None or not is_certain:
            if waited < self.endpoint.queue_timeout_seconds:
                return None
            fault = fault or FaultCode.RUNPOD_NO_CAPACITY
        found = verdict.end(self.claim.attempt, fault, _told(reading, waited), status=view.status)
        await self.stop(found.fault)
        # Between the last look and the word a worker may have taken it and be done.
        receipt = await asyncio.to_thread(self.ledger.receipt)
        return None if receipt is not None else found

    async def _health(self, sweep: Sweep) -> tuple[EndpointReading | None, float]:
        try:
            standing = await sweep.health()
        except RunPodError:
            return None, 0.0
        if standing.is_new:
            # For the door, which answers at once where no worker is; it is speed, not truth.
            with suppress(JobStoreError):
                await self.jobs.note_endpoint_health(standing.reading)
        return standing.reading, standing.standing_seconds

    async def _tell(self, view: JobView) -> None:
        await self.report(JobNews(self.claim, view.id, self.is_ours, view.status, verdict.progress_of(view)))

    async def _write(self, end: AttemptEnd) -> None:
        await asyncio.to_thread(self.ledger.ended, end)


@asynccontextmanager
async def _hurried(sweep: Sweep, watched: WatchedJob, waker: Waker) -> AsyncIterator[None]:
    """Look at the job at once whenever somebody calls, as long as the block lasts."""

    async def hear() -> None:
        while True:
            if await waker.wait(_WAKER_SECONDS):
                sweep.hurry(watched)

    hearing = asyncio.create_task(hear())
    try:
        yield
    finally:
        hearing.cancel()
        await asyncio.wait([hearing])


def _told(reading: EndpointReading | None, waited: float) -> str:
    told = f"It waited {waited:.0f} s in the queue"
    if reading is None:
        return f"{told}; RunPod did not tell of its workers."
    counts = ", ".join(f"{count} {name}" for name, count in reading.workers.items() if count) or "none"
    return f"{told}; workers: {counts}; jobs in the queue: {reading.jobs.get('inQueue', 0)}."


def _age_seconds(claim: Claim) -> float:
    return (datetime.now(UTC) - claim.claimed_at).total_seconds()
