"""One GPU job on one RunPod endpoint: claimed, submitted or joined, waited for, verified, cancelled.

The order makes the promise about money: the receipt is looked for before anything is claimed, the claim is in the
bucket before anything is submitted, and every attempt beyond the first names its cause.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from blocks.job_store import JobStore, Waker
from blocks.runpod import JobStatus, JobView, RunPodEndpoint, RunPodError, SubmitUnclearError
from flows.errors import JobError, is_worth_another_attempt
from flows.handover import is_handed_back
from flows.ledger import Cause, JobLedger
from gpu_tasks import tracing
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob
from gpu_tasks.contract.receipts import Claim, JobReply, Progress, Receipt
from gpu_tasks.storage import ArtifactStore

# A submit takes at most this long, its own retries included; an intent that is older is dead.
SUBMIT_SECONDS = 60.0
# RunPod may answer 404 for a job that it has just accepted.
_YOUNG_SECONDS = 10.0
_CANCEL_SECONDS = 10.0
_LONGEST_BACKOFF_SECONDS = 8.0
_SHORTEST_PAUSE_SECONDS = 0.2
# A job that has run for a minute is looked at every six seconds, if the endpoint's interval allows.
_PAUSE_PER_AGE = 0.1
_LOG_LINES = 20


class JobDone(BaseModel):
    """A job's verified result, and whose run paid for it (another's, when the result was there already)."""

    model_config = ConfigDict(frozen=True)

    receipt: Receipt
    paid_by: str
    attempts: int


class JobNews(NamedTuple):
    """How a job stands, for the record. `is_ours`: this run has submitted it, and does not only wait for it."""

    job_id: str
    is_ours: bool
    status: JobStatus
    progress: Progress | None


Report = Callable[[JobNews], Awaitable[None]]


class _End(NamedTuple):
    """How an attempt ended without a receipt, and why the next one would be made."""

    attempt: int
    fault: Fault
    cause: str
    log_tail: tuple[str, ...] = ()
    # It had ended before this run looked for the first time: another run's experience, not ours.
    is_stale: bool = False


@dataclass
class RemoteJob:
    """One job, run for one run.

    Attributes:
        job: What to compute; its attempt number is set here.
        endpoint: Where to submit it.
        store: The bucket with claims and receipts.
        jobs: Wakes us when RunPod has called.
        task_id: The run that asks and pays.
        max_attempts: How often to submit.
        report: Told how the job stands, about once per look.
    """

    job: Wav2LipJob | FaceFusionJob
    endpoint: RunPodEndpoint
    store: ArtifactStore
    jobs: JobStore
    task_id: str
    max_attempts: int
    report: Report

    def __post_init__(self) -> None:
        self._client = self.endpoint.client()
        self._ledger = JobLedger(self.store, self.job, task_id=self.task_id)
        self._submits = 0
        self._deadline = time.monotonic() + self.endpoint.job_timeout_seconds

    async def run(self) -> JobDone:
        """Return the job's receipt, computed now or earlier.

        Raises:
            JobError: Every attempt ended without a result, or took too long.
            RunPodError: RunPod refuses the key or the endpoint.
            StorageError: The bucket is away; nothing is submitted without a claim.
            asyncio.CancelledError: The run was cancelled; so is the RunPod job, if this run had submitted it.
        """
        async with self.jobs.woken(self._ledger.fingerprint) as waker:
            end: _End | None = None
            while True:
                if (receipt := await asyncio.to_thread(self._ledger.receipt)) is not None:
                    return await self._done(receipt)
                newest = await asyncio.to_thread(self._ledger.newest_claim)
                if newest is not None and (end is None or newest.attempt > end.attempt):
                    end = await self._join(newest, waker)
                else:
                    end = await self._attempt(end, waker)

    async def _attempt(self, end: _End | None, waker: Waker) -> _End | None:
        """Make the attempt after `end`; None means: look at the bucket again."""
        if end is not None:
            if not self._may_try_again(end):
                raise JobError.of(end.fault, stage=self.job.stage, log_tail=end.log_tail)
            if self._submits:
                await waker.wait(min(_LONGEST_BACKOFF_SECONDS, 2.0 ** (self._submits - 1)))
        attempt, cause = (end.attempt + 1, end.cause) if end else (1, Cause.FIRST)
        claim = await asyncio.to_thread(self._ledger.claim, attempt, cause, self.endpoint.endpoint_id)
        if claim is None:
            return None
        self._submits += 1
        submitting = asyncio.ensure_future(self._submit(claim))
        try:
            submitted = await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # A job whose id nobody knows cannot be cancelled: its id is awaited first.
            with suppress(FaultError):
                submitted = await submitting
                if not is_handed_back(self.task_id):
                    await self._cancel(submitted)
            raise
        except RunPodError as error:
            if error.fault.code is not FaultCode.RUNPOD_SUBMIT_FAILED:
                raise
            is_unclear = isinstance(error, SubmitUnclearError)
            return _End(attempt, error.fault, Cause.SUBMIT_UNCLEAR if is_unclear else error.fault.code)
        return await self._follow(submitted, waker, is_ours=True)

    async def _submit(self, claim: Claim) -> Claim:
        job = self.job.as_attempt(claim.attempt).model_copy(
            update={"task_id": self.task_id, "traceparent": tracing.here()}
        )
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                job_id = await self._client.submit(claim.endpoint_id, job, policy=self.endpoint.job_policy)
        except TimeoutError as error:
            raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, "It did not answer in time.") from error
        return await asyncio.to_thread(self._ledger.submitted, claim, job_id)

    async def _join(self, claim: Claim, waker: Waker) -> _End | None:
        """Wait for what an earlier or another run has claimed; None means: look at the bucket again."""
        is_ours = claim.task_id == self.task_id
        if claim.job_id is not None:
            return await self._follow(claim, waker, is_ours=is_ours)
        left = SUBMIT_SECONDS - _age_seconds(claim)
        if not is_ours and left > 0:
            await waker.wait(min(self.endpoint.poll_interval_seconds, left))
            return None
        fault = FaultError(FaultCode.RUNPOD_SUBMIT_FAILED, "Its submitter died.").fault
        return _End(claim.attempt, fault, Cause.INTENT_WITHOUT_JOB, is_stale=True)

    async def _follow(self, claim: Claim, waker: Waker, *, is_ours: bool) -> _End | None:
        try:
            return await self._wait(claim, waker)
        except (asyncio.CancelledError, JobError):
            # Another run's job is not ours to stop, and a run that is handed back will join its job again.
            if is_ours and not is_handed_back(self.task_id):
                await asyncio.shield(self._cancel(claim))
            raise

    async def _wait(self, claim: Claim, waker: Waker) -> _End | None:
        """Look at a submitted job until it has ended; how, or None when its receipt is in the bucket."""
        began = time.monotonic()
        is_first_look = True
        while True:
            view: JobView | None = None
            outage: RunPodError | None = None
            try:
                view = await self._client.status(claim.endpoint_id, claim.job_id or "")
            except RunPodError as error:
                # An outage of the API is no news of the job: it is borne until the deadline.
                if error.fault.code is FaultCode.RUNPOD_NOT_CONFIGURED:
                    raise
                outage = error
            if view is not None:
                await self.report(JobNews(view.id, claim.task_id == self.task_id, view.status, _progress(view)))
            is_lost = view is None and outage is None and _age_seconds(claim) > _YOUNG_SECONDS
            if is_lost or (view is not None and view.status.is_final):
                if await asyncio.to_thread(self._ledger.receipt) is not None:
                    return None
                is_stale = is_first_look and claim.task_id != self.task_id
                return _judge(claim.attempt, view)._replace(is_stale=is_stale)
            is_first_look = False
            if time.monotonic() > self._deadline:
                raise JobError.of(outage.fault if outage else self._too_long(), stage=self.job.stage)
            pause = max(_SHORTEST_PAUSE_SECONDS, (time.monotonic() - began) * _PAUSE_PER_AGE)
            await waker.wait(min(self.endpoint.poll_interval_seconds, pause))

    async def _done(self, receipt: Receipt) -> JobDone:
        claim = await asyncio.to_thread(self._ledger.newest_claim)
        return JobDone(
            receipt=receipt,
            paid_by=claim.task_id if claim else "",
            attempts=claim.attempt if claim else receipt.attempt,
        )

    async def _cancel(self, claim: Claim) -> None:
        # Without an answer RunPod's own time limit ends the job.
        with suppress(RunPodError, TimeoutError):
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._client.cancel(claim.endpoint_id, claim.job_id or "")

    def _may_try_again(self, end: _End) -> bool:
        if self._submits >= self.max_attempts:
            return False
        return end.is_stale or end.fault.code is FaultCode.SUPERSEDED or is_worth_another_attempt(end.fault.code)

    def _too_long(self) -> Fault:
        limit = f"The limit is {self.endpoint.job_timeout_seconds:g} s in queue and work together."
        return FaultError(FaultCode.RUNPOD_JOB_TIMEOUT, limit).fault


def _judge(attempt: int, view: JobView | None) -> _End:
    """Say how a job ended that left no receipt."""
    if view is None:
        return _ended(attempt, FaultCode.RUNPOD_JOB_FAILED, "RunPod no longer knows the job.", cause=Cause.JOB_LOST)
    match view.status:
        case JobStatus.COMPLETED:
            reply = _reply(view)
            if reply is not None and reply.fault is not None:
                return _End(attempt, reply.fault, reply.fault.code, reply.log_tail)
            return _ended(attempt, FaultCode.RESULT_MISSING, log_tail=reply.log_tail if reply else ())
        case JobStatus.TIMED_OUT:
            return _ended(attempt, FaultCode.RUNPOD_JOB_TIMEOUT, "RunPod stopped it.")
        case JobStatus.CANCELLED:
            return _ended(attempt, FaultCode.RUNPOD_JOB_FAILED, "It was cancelled on RunPod.")
        case _:
            kind, log_tail = _crash(view.error)
            return _ended(attempt, FaultCode.RUNPOD_JOB_FAILED, kind, log_tail=log_tail)


def _ended(
    attempt: int, code: FaultCode, detail: str = "", *, cause: str | None = None, log_tail: tuple[str, ...] = ()
) -> _End:
    return _End(attempt, FaultError(code, detail).fault, cause or code, log_tail)


def _crash(error: object) -> tuple[str, tuple[str, ...]]:
    """Read what the SDK reports of an exception: a JSON string with type, message and traceback."""
    try:
        report = json.loads(error) if isinstance(error, str) else error
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return "", tuple(str(error).splitlines()[-_LOG_LINES:]) if error else ()
    trace = str(report.get("error_traceback") or report.get("error_message") or "")
    kind = str(report.get("error_type") or "")
    return f"It ended with {kind}." if kind else "", tuple(trace.splitlines()[-_LOG_LINES:])


def _reply(view: JobView) -> JobReply | None:
    try:
        return JobReply.model_validate(view.output)
    except ValidationError:
        return None


def _progress(view: JobView) -> Progress | None:
    try:
        return Progress.model_validate(view.output) if view.output is not None else None
    except ValidationError:
        return None


def _age_seconds(claim: Claim) -> float:
    return (datetime.now(UTC) - claim.claimed_at).total_seconds()
