"""An attempt at a GPU job from its claim to the id that RunPod gave it: the bucket knows of it before RunPod does."""

import asyncio
from dataclasses import dataclass, field

from blocks.rates import Operation
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import RunPodClient, RunPodError, SubmitUnclearError
from flows import verdict
from flows.budget import Budget
from flows.ledger import Cause, JobLedger, Terms
from flows.stopping import attempt_end
from flows.terms import policy_of
from flows.verdict import End
from gpu_tasks import tracing
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob
from gpu_tasks.contract.receipts import Claim

# A submit takes at most this long, its own retries included; an intent that is older is dead.
SUBMIT_SECONDS = 60.0


@dataclass
class Submitter:
    """Claims and submits attempts at one job, for one run.

    Attributes:
        job: What to compute; its attempt number is set here.
        endpoint: How to submit it.
        ledger: The job's entries in the bucket.
        budget: What the run and the day may spend; who pays is its `task_id`.
    """

    job: Wav2LipJob | FaceFusionJob
    endpoint: RunPodEndpoint
    ledger: JobLedger
    budget: Budget

    def __post_init__(self) -> None:
        self._client = self.endpoint.client()

    async def claim(self, end: End | None, terms: Terms, *, patience: float) -> Claim | None:
        """Reserve and claim the attempt after `end`; None when another run was first.

        Args:
            end: How the attempt before has ended, None before the first.
            terms: Where it goes, how long it may take and what it may cost.
            patience: How long to wait for budget that others have reserved, in seconds.

        Raises:
            FaultError: BUDGET_EXCEEDED or PRICE_UNKNOWN; nothing is claimed.
            StorageError: The bucket is away.
        """
        attempt, cause = (end.attempt + 1, end.cause) if end else (1, Cause.FIRST.value)
        entry = f"{self.job.stage}/{self.ledger.fingerprint}/{attempt}"
        await self.budget.reserve(
            entry, seconds=terms.execution_seconds, usd_per_second=terms.usd_per_second, patience=patience
        )
        claim = await asyncio.to_thread(self.ledger.claim, attempt, cause, terms)
        if claim is None:
            self.budget.yield_to_another(entry)
        elif end is not None and end.status == verdict.UNCLEAR:
            # From now on it is superseded: should RunPod have it, its worker finds the newer claim and leaves.
            unclear = claim.model_copy(update={"attempt": end.attempt})
            await asyncio.to_thread(self.ledger.ended, attempt_end(unclear, end.status, end.fault))
        return claim

    async def submit(self, claim: Claim) -> Claim:
        """Submit a claimed attempt; returns the claim with the job's id, which is in the bucket then.

        Raises:
            SubmitUnclearError: RunPod may have taken it.
            RunPodError: It surely has not.
            StorageError: The bucket is away.
        """
        job = self.job.as_attempt(claim.attempt).model_copy(
            update={"task_id": self.budget.task_id, "traceparent": tracing.here()}
        )
        try:
            async with asyncio.timeout(SUBMIT_SECONDS):
                job_id = await self._client.submit(
                    claim.endpoint_id,
                    {"job": job.model_dump(mode="json")},
                    policy=policy_of(claim),
                    webhook_url=self.endpoint.webhook_for(claim.fingerprint),
                )
        except TimeoutError as error:
            raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, "It did not answer in time.") from error
        return await asyncio.to_thread(self.ledger.submitted, claim, job_id)

    async def not_submitted(self, claim: Claim, error: RunPodError) -> End:
        """Write down how a submit failed. Only one that RunPod may have taken counts as an attempt."""
        if isinstance(error, SubmitUnclearError):
            cause, status = Cause.SUBMIT_UNCLEAR.value, verdict.UNCLEAR
        else:
            cause, status = error.fault.code.value, verdict.NOT_QUEUED
            await asyncio.to_thread(self.ledger.ended, attempt_end(claim, status, error.fault))
        return End(claim.attempt, error.fault, cause, status, was_queued=False)

    async def adopted(self, end: End) -> Claim | None:
        """Find out by our own fingerprint what became of a submit whose answer nobody has: did a worker begin it?"""
        if end.status != verdict.UNCLEAR:
            return None
        marker = await asyncio.to_thread(self.ledger.begun, end.attempt)
        claim = await asyncio.to_thread(self.ledger.newest_claim) if marker else None
        if marker is None or claim is None or claim.attempt != end.attempt or claim.job_id is not None:
            return None
        return await asyncio.to_thread(self.ledger.submitted, claim, marker.job_id)


@dataclass
class Candidates:
    """The endpoints a job may go to, the preferred one first.

    Attributes:
        endpoint: Which they are.
        fingerprint: Of the job: a canary gets a share of them.
    """

    endpoint: RunPodEndpoint
    fingerprint: str
    _unfit: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._client: RunPodClient = self.endpoint.client()
        self._all = self.endpoint.endpoints_for(self.fingerprint)

    def rule_out(self, endpoint_id: str) -> None:
        """Send nothing more there: it is unfit for this job."""
        self._unfit.add(endpoint_id)

    @property
    def has_another(self) -> bool:
        """Tell whether one is left that is not known to be unfit."""
        return any(one not in self._unfit for one in self._all)

    @property
    def best(self) -> str:
        """The first that is not known to be unfit, and that answers."""
        fit = [one for one in self._all if one not in self._unfit] or [self.endpoint.endpoint_id]
        return next((one for one in fit if not self._rest_seconds(one)), fit[0])

    @property
    def rest_seconds(self) -> float:
        """How long the best one is left alone because it has not answered, in seconds; 0 when it answers."""
        return self._rest_seconds(self.best)

    def _rest_seconds(self, endpoint_id: str) -> float:
        return self._client.circuit(endpoint_id, Operation.RUN).rest_seconds
