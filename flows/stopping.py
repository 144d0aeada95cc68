"""Stopping GPU jobs, and asking RunPod whether they have stopped: only that ends what is billed."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from blocks import record_changes, registry
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobStatus, JobView, RunPodClient, RunPodError
from flows.accounts import Spent
from flows.at_work import JobAtWork, jobs_at_work
from flows.ledger import JobLedger
from gpu_tasks.contract.artifacts import WorkKeys
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.receipts import AttemptEnd, Claim
from gpu_tasks.contract.records import TaskRecord

_CONFIRM_SECONDS = 10.0
_LOOK_SECONDS = 0.25


class Stopped(NamedTuple):
    """Whether RunPod says that the job is over, and what it says of it; no view: RunPod does not know the job."""

    is_confirmed: bool
    view: JobView | None = None


async def stop_job(client: RunPodClient, endpoint_id: str, job_id: str) -> Stopped:
    """Cancel a job and wait until RunPod says that it is over; without an answer its own time limit ends it."""
    newest: JobView | None = None
    with suppress(RunPodError, TimeoutError):
        async with asyncio.timeout(_CONFIRM_SECONDS):
            if not await client.cancel(endpoint_id, job_id):
                return Stopped(is_confirmed=True)
            while True:
                newest = await client.status(endpoint_id, job_id)
                if newest is None or newest.status.is_final:
                    return Stopped(is_confirmed=True, view=newest)
                await asyncio.sleep(_LOOK_SECONDS)
    return Stopped(is_confirmed=False, view=newest)


class StageStopped(NamedTuple):
    """What a run's record is to tell of a stage whose GPU jobs were stopped for it.

    Attributes:
        stage: Of the jobs.
        details: For the record's `details`.
        spent: What the run has paid for these jobs, all attempts together.
        added: The part of it that the ledger had not known before they were stopped.
    """

    stage: Stage
    details: dict[str, Any]
    spent: Spent
    added: Spent

    def told_in(self, record: TaskRecord, now: datetime) -> TaskRecord:
        """Return the record with it."""
        record = record_changes.noted(record, now=now, details=self.details)
        cost = record.cost
        known = Spent(gpu_seconds=cost.by_stage.get(self.stage, 0.0), usd=cost.usd_by_stage.get(self.stage, 0.0))
        # A record that died with its process may lack what the ledger knew already.
        paid = max(known + self.added, self.spent, key=lambda one: one.gpu_seconds)
        if paid.gpu_seconds <= known.gpu_seconds:
            return record
        return record_changes.charged(record, self.stage, paid.gpu_seconds, paid.usd, now=now)


async def stop_jobs(record: TaskRecord) -> list[StageStopped]:
    """Stop what a run has left on GPUs, as its record tells.

    For a run whose own process was ended before it could do so.
    """
    stopped = await asyncio.gather(*(_stop_stage(record, stage) for stage in registry.ENDPOINTS))
    return [one for one in stopped if one is not None]


async def _stop_stage(record: TaskRecord, stage: Stage) -> StageStopped | None:
    jobs = jobs_at_work(record.details, stage)
    if not jobs:
        return None
    endpoint: RunPodEndpoint = await RunPodEndpoint.aload(registry.ENDPOINTS[stage])
    ends = await asyncio.gather(*(_stop(endpoint, job, record.task_id, stage) for job in jobs))
    last = ends[-1].stopped.view
    status = last.status if last else JobStatus.CANCELLED
    details = {f"{stage}_status": status.value, f"{stage}_stopped": all(end.stopped.is_confirmed for end in ends)}
    spent, added = (sum((getattr(end, name) for end in ends), Spent()) for name in ("spent", "added"))
    return StageStopped(stage, details, spent, added)


class _JobEnd(NamedTuple):
    stopped: Stopped
    spent: Spent = Spent()
    added: Spent = Spent()


async def _stop(endpoint: RunPodEndpoint, job: JobAtWork, task_id: str, stage: Stage) -> _JobEnd:
    stopped = await stop_job(endpoint.client(), job.endpoint or endpoint.endpoint_id, job.job_id)
    with suppress(FaultError):
        return await _accounted(job, task_id, stage, stopped)
    return _JobEnd(stopped)


async def _accounted(job: JobAtWork, task_id: str, stage: Stage, stopped: Stopped) -> _JobEnd:
    """Write the end into the ledger and return what the run has paid for the job."""
    if job.fingerprint is None or job.attempt is None:
        return _JobEnd(stopped)
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    store, keys = media.store(), WorkKeys(stage=stage, fingerprint=job.fingerprint)
    ledger = JobLedger(store, keys, task_id=task_id)
    before = (await asyncio.to_thread(ledger.account)).spent(task_id)
    claim = await asyncio.to_thread(store.read_json, keys.claim(job.attempt), Claim)
    if claim is not None:
        status = stopped.view.status if stopped.view else JobStatus.CANCELLED
        fault = None if status is JobStatus.COMPLETED else FaultError(FaultCode.CANCELLED).fault
        end = attempt_end(claim, status, fault, stopped.view, is_stopped=stopped.is_confirmed)
        await asyncio.to_thread(ledger.ended, end)
    spent = (await asyncio.to_thread(ledger.account)).spent(task_id)
    usd = None if spent.usd is None or before.usd is None else spent.usd - before.usd
    return _JobEnd(stopped, spent, Spent(gpu_seconds=spent.gpu_seconds - before.gpu_seconds, usd=usd))


def attempt_end(
    claim: Claim, status: str, fault: Fault | None, view: JobView | None = None, *, is_stopped: bool | None = None
) -> AttemptEnd:
    """Return how an attempt ended, for the ledger."""
    return AttemptEnd(
        fingerprint=claim.fingerprint,
        stage=claim.stage,
        attempt=claim.attempt,
        status=status,
        fault=fault.code if fault else None,
        job_id=claim.job_id,
        worker_id=view.worker_id if view else None,
        delay_seconds=_seconds(view.delay_ms) if view else None,
        execution_seconds=_seconds(view.execution_ms) if view else None,
        is_stopped=is_stopped,
        ended_at=datetime.now(UTC),
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else max(0.0, milliseconds / 1000)
