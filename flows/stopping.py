"""Stopping GPU jobs, and asking RunPod whether they have stopped: only that ends what is billed."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from blocks import registry
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobStatus, JobView, RunPodClient, RunPodError
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


async def stop_jobs(record: TaskRecord) -> dict[str, Any]:
    """Stop what a run has left on GPUs, as its record tells; return what its record is to tell of that.

    For a run whose own process was ended before it could do so.
    """
    told = await asyncio.gather(*(_stop_stage(record, stage) for stage in registry.ENDPOINTS))
    return {name: value for details in told for name, value in details.items()}


async def _stop_stage(record: TaskRecord, stage: Stage) -> dict[str, Any]:
    job_id = record.details.get(f"{stage}_job_id")
    is_over = record.details.get(f"{stage}_status") not in {"IN_QUEUE", "IN_PROGRESS", "RUNNING"}
    # A job that another run has submitted is that run's to stop.
    if job_id is None or is_over or record.details.get(f"{stage}_reused"):
        return {}
    endpoint: RunPodEndpoint = await RunPodEndpoint.aload(registry.ENDPOINTS[stage])
    endpoint_id = record.details.get(f"{stage}_endpoint", endpoint.endpoint_id)
    stopped = await stop_job(endpoint.client(), endpoint_id, job_id)
    status = stopped.view.status if stopped.view else JobStatus.CANCELLED
    with suppress(FaultError):
        await _write_end(record, stage, stopped)
    return {f"{stage}_status": status.value, f"{stage}_stopped": stopped.is_confirmed}


async def _write_end(record: TaskRecord, stage: Stage, stopped: Stopped) -> None:
    fingerprint = record.details.get(f"{stage}_fingerprint")
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    if fingerprint is None:
        return
    keys, attempt = WorkKeys(stage=stage, fingerprint=fingerprint), record.details[f"{stage}_attempt"]
    claim = await asyncio.to_thread(media.store().read_json, keys.claim(attempt), Claim)
    if claim is None:
        return
    status = stopped.view.status if stopped.view else JobStatus.CANCELLED
    fault = None if status is JobStatus.COMPLETED else FaultError(FaultCode.CANCELLED).fault
    end = attempt_end(claim, status, fault, stopped.view, is_stopped=stopped.is_confirmed)
    await asyncio.to_thread(JobLedger(media.store(), keys, task_id=record.task_id).ended, end)


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
