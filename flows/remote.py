"""One GPU job on a RunPod endpoint: claimed, submitted or joined, waited for, verified, cancelled, paid for.

The order makes the promise about money: the receipt is looked for before anything is claimed, the budget is asked and
the claim is in the bucket before anything is submitted, and every attempt beyond the first names its cause.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from blocks.job_store import JobStore, JobStoreError
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import RunPodError
from blocks.slots import EndpointSlots
from blocks.wakes import Waker
from flows import verdict
from flows.accounts import JobAccount, Spent
from flows.budget import Budget
from flows.errors import JobError
from flows.following import Follower, Report
from flows.handover import is_handed_back
from flows.ledger import JobLedger
from flows.order import Clock, Order
from flows.retrying import RETRIES, Retry, is_of_the_endpoint, is_worth_another_attempt
from flows.submitting import SUBMIT_SECONDS, Candidates, Submitter
from flows.terms import terms_of
from flows.verdict import End
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob, keys_of
from gpu_tasks.contract.receipts import Claim, Receipt
from gpu_tasks.storage import ArtifactStore, StorageError

_LONGEST_BACKOFF_SECONDS = 8.0

Charge = Callable[[JobAccount], Awaitable[None]]


class JobDone(BaseModel):
    """A job's verified result, whose run paid for it, and what each run has paid on the way."""

    model_config = ConfigDict(frozen=True)

    receipt: Receipt
    paid_by: str
    attempts: int
    spent: dict[str, Spent] = {}


@dataclass
class RemoteJob:
    """One job, run for one run.

    Attributes:
        job: What to compute; its attempt number is set here.
        endpoint: Where to submit it.
        store: The bucket with claims and receipts.
        jobs: Wakes us when RunPod has called.
        budget: What the run and the day may spend; who runs the job and who pays is its `task_id`.
        max_attempts: How often to let a worker try.
        report: Told how the job stands, about once per look.
        charge: Told what the job has cost, whenever an attempt of this run has ended.
        order: Priority and deadline.
    """

    job: Wav2LipJob | FaceFusionJob
    endpoint: RunPodEndpoint
    store: ArtifactStore
    jobs: JobStore
    budget: Budget
    max_attempts: int
    report: Report
    charge: Charge
    order: Order = field(default_factory=Order)

    def __post_init__(self) -> None:
        self.task_id = self.budget.task_id
        self._ledger = JobLedger(self.store, keys_of(self.job), task_id=self.task_id)
        self._submitter = Submitter(self.job, self.endpoint, self._ledger, self.budget)
        self._candidates = Candidates(self.endpoint, self._ledger.fingerprint)
        self._account: JobAccount | None = None
        self._tries = 0
        self._refusals = 0
        self._clock = Clock(self.endpoint, self.order)

    async def run(self) -> JobDone:
        """Return the job's receipt, computed now or earlier.

        Raises:
            JobError: Every attempt ended without a result, or took too long.
            RunPodError: RUNPOD_KEY_REFUSED.
            FaultError: BUDGET_EXCEEDED or PRICE_UNKNOWN; nothing was submitted.
            StorageError: The bucket is away; nothing is submitted without a claim.
            asyncio.CancelledError: The run was cancelled; so is the RunPod job, if this run had submitted it.
        """
        async with self.jobs.woken(self._ledger.fingerprint) as waker:
            end: End | None = None
            while True:
                try:
                    receipt = await asyncio.to_thread(self._ledger.receipt)
                except StorageError as error:
                    if error.fault.code is not FaultCode.OBJECT_CORRUPT:
                        raise
                    end = await self._corrupt(error)
                else:
                    if receipt is not None:
                        return await self._done(receipt)
                newest = await asyncio.to_thread(self._ledger.newest_claim)
                newer = newest if newest and (end is None or newest.attempt > end.attempt) else None
                outcome = await (self._join(newer, waker) if newer else self._attempt(end, waker))
                if isinstance(outcome, Receipt):
                    return await self._done(outcome)
                end = outcome

    async def _attempt(self, end: End | None, waker: Waker) -> End | Receipt | None:
        """Make the attempt after `end`; None means: look at the bucket again."""
        self._clock.check(self.job.stage)
        if end is not None:
            if self._account is None:
                # What this run had paid before it was taken up again counts, too.
                await self._settle()
            self._check_may_try_again(end)
            await self._pause(end, waker)
            if (adopted := await self._submitter.adopted(end)) is not None:
                return await self._follow(adopted, waker, is_ours=True)
        terms = terms_of(
            self.job,
            self.endpoint,
            self._candidates.best,
            left_seconds=self._clock.limit.left_seconds,
            counts_money=self.budget.bounds.counts_money,
        )
        async with self._place(terms.endpoint_id, is_in=False):
            patience = min(self.endpoint.queue_timeout_seconds, self._clock.limit.left_seconds)
            claim = await self._submitter.claim(end, terms, patience=patience)
            if claim is None:
                return None
            try:
                submitted = await self._submitted(claim)
            except RunPodError as error:
                return await self._not_submitted(claim, error)
            # Whoever has found the intent without a job id waits for this.
            with suppress(JobStoreError):
                await self.jobs.wake(self._ledger.fingerprint)
            return await self._follow(submitted, waker, is_ours=True)

    async def _submitted(self, claim: Claim) -> Claim:
        """Submit an attempt, and write down its job id before anything may interrupt."""
        submitting = asyncio.ensure_future(self._submitter.submit(claim))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # A job whose id nobody knows cannot be cancelled: its id is awaited first.
            with suppress(FaultError):
                submitted = await submitting
                if not is_handed_back(self.task_id):
                    await self._stop(self._follower(submitted, is_ours=True), FaultError(FaultCode.CANCELLED).fault)
            raise

    async def _not_submitted(self, claim: Claim, error: RunPodError) -> End:
        self._refusals += 1
        end = await self._submitter.not_submitted(claim, error)
        await self._settle()
        match RETRIES[error.fault.code]:
            case Retry.NEVER:
                raise error
            case Retry.ELSEWHERE:
                self._candidates.rule_out(claim.endpoint_id)
        return end

    async def _join(self, claim: Claim, waker: Waker) -> End | Receipt | None:
        """Wait for what an earlier or another run has claimed; None means: look at the bucket again."""
        is_ours = claim.task_id == self.task_id
        if claim.job_id is not None and is_ours:
            async with self._place(claim.endpoint_id, is_in=True):
                return await self._follow(claim, waker, is_ours=True)
        if claim.job_id is not None:
            return await self._follow(claim, waker, is_ours=False)
        known = await asyncio.to_thread(self._ledger.end_of, claim.attempt)
        left = SUBMIT_SECONDS - (datetime.now(UTC) - claim.claimed_at).total_seconds()
        if known is None and not is_ours and left > 0:
            self._clock.check(self.job.stage)
            await waker.wait(min(self.endpoint.poll_interval_seconds, left))
            return None
        return verdict.without_job(claim.attempt, known)

    async def _follow(self, claim: Claim, waker: Waker, *, is_ours: bool) -> End | Receipt:
        self._account = None
        follower = self._follower(claim, is_ours=is_ours)
        try:
            outcome = await follower.follow(waker)
        except (asyncio.CancelledError, JobError) as error:
            # Another run's job is not ours to stop, and a run that is handed back will join its job again.
            if is_ours and not is_handed_back(self.task_id):
                fault = error.fault if isinstance(error, JobError) else FaultError(FaultCode.CANCELLED).fault
                await asyncio.shield(self._stop(follower, fault))
            raise
        if is_ours:
            self._tries += 1
            await self._settle()
        if isinstance(outcome, End) and is_of_the_endpoint(outcome.fault.code):
            self._candidates.rule_out(claim.endpoint_id)
        return outcome

    def _follower(self, claim: Claim, *, is_ours: bool) -> Follower:
        return Follower(
            claim,
            is_ours=is_ours,
            endpoint=self.endpoint,
            jobs=self.jobs,
            ledger=self._ledger,
            limit=self._clock.limit,
            report=self.report,
        )

    async def _stop(self, follower: Follower, fault: Fault) -> None:
        # Whatever cannot be written down now, why the run ends is more important.
        with suppress(FaultError):
            await follower.stop(fault)
            await self._settle()

    async def _settle(self) -> None:
        """Count what the job has cost: for the budget, and for the record of the run."""
        self._account = account = await asyncio.to_thread(self._ledger.account)
        await self.budget.settle(account)
        await self.charge(account)

    async def _done(self, receipt: Receipt) -> JobDone:
        if (account := self._account) is None:
            account = await asyncio.to_thread(self._ledger.account)
            await self.budget.settle(account)
        payers = {entry.attempt: entry.task_id for entry in account.executions}
        return JobDone(
            receipt=receipt,
            paid_by=payers.get(receipt.attempt, ""),
            attempts=max(payers, default=receipt.attempt),
            spent={task_id: account.spent(task_id) for task_id in account.tasks},
        )

    async def _corrupt(self, error: StorageError) -> End | None:
        """Make way for another attempt where a receipt names another object than is there."""
        await asyncio.to_thread(self._ledger.discard)
        claim = await asyncio.to_thread(self._ledger.newest_claim)
        if claim is None:
            return None
        return End(claim.attempt, error.fault, error.fault.code.value, verdict.LOST, is_foreign=True)

    @asynccontextmanager
    async def _place(self, endpoint_id: str, *, is_in: bool) -> AsyncIterator[None]:
        """Hold one of the endpoint's places, if it has a limit of its own; a job that `is_in` does not wait for it."""
        slots = EndpointSlots.of(self.jobs, endpoint_id)
        member = f"{self.task_id}:{self._ledger.fingerprint}"
        async with AsyncExitStack() as stack:
            limit, priority = self.endpoint.max_jobs, self.order.priority
            entering = slots.entered(member, priority=priority, limit=limit, is_in=is_in)
            with self._clock.standing_in_line(), suppress(TimeoutError):
                async with asyncio.timeout(self.order.left_seconds):
                    await stack.enter_async_context(entering)
            self._clock.check(self.job.stage)
            yield

    def _check_may_try_again(self, end: End) -> None:
        """Raises JobError when another attempt would not help, or is one too many."""
        if end.is_foreign and self._tries < self.max_attempts:
            return
        match RETRIES[end.fault.code]:
            case Retry.ELSEWHERE:
                may = self._candidates.has_another
            case Retry.WAIT if not end.was_queued:
                may = self._clock.is_patient
            case _:
                may = self._tries < self.max_attempts and is_worth_another_attempt(end.fault.code)
        if not may:
            raise JobError.of(end.fault, stage=self.job.stage, log_tail=end.log_tail)

    async def _pause(self, end: End, waker: Waker) -> None:
        """Let some time pass before another attempt, more after each; a submit that was unclear may yet show up."""
        rounds = self._tries + self._refusals
        if not rounds or RETRIES[end.fault.code] is Retry.ELSEWHERE:
            return
        # What was called until now is known; what is called from now on may be the answer.
        await waker.wait(0)
        await waker.wait(min(_LONGEST_BACKOFF_SECONDS, 2.0 ** (rounds - 1), self._clock.limit.left_seconds))
        # While nobody is answered, nobody claims: every refused submit would leave a claim behind.
        while self._clock.is_patient and (resting := self._candidates.rest_seconds):
            self._clock.check(self.job.stage)
            await asyncio.sleep(min(resting, _LONGEST_BACKOFF_SECONDS))
