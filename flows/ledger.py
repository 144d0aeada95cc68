"""What the bucket knows of one GPU job: who claimed its attempts, and its receipt.

The claims are the ledger of the money: each attempt has one, with its cause, written before anything is submitted.
"""

from datetime import UTC, datetime
from enum import StrEnum

from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob, keys_of
from gpu_tasks.contract.receipts import Claim, Receipt
from gpu_tasks.storage import ArtifactStore


class Cause(StrEnum):
    """Why an attempt is made; the others are named by the code of the fault that the attempt before ended with."""

    FIRST = "first"
    INTENT_WITHOUT_JOB = "intent_without_job"
    JOB_LOST = "job_lost"
    SUBMIT_UNCLEAR = "submit_unclear"


class JobLedger:
    """Claims and receipt of one job, for one run. All methods wait for the bucket: call them in a thread."""

    def __init__(self, store: ArtifactStore, job: Wav2LipJob | FaceFusionJob, *, task_id: str) -> None:
        self._store = store
        self._keys = keys_of(job)
        self._stage = job.stage
        self._task_id = task_id
        # Claims are never taken back, so the newest known one is where the next look begins.
        self._seen = 0

    @property
    def fingerprint(self) -> str:
        return self._keys.fingerprint

    def receipt(self) -> Receipt | None:
        """Return the receipt when it names an object that is there with that size and digest.

        A receipt whose object is gone would be handed out by every later worker: it is removed.
        """
        receipt = self._store.read_json(self._keys.receipt, Receipt)
        if receipt is None:
            return None
        head = self._store.head(receipt.artifact.key)
        is_sound = (
            head is not None
            and head.size_bytes == receipt.artifact.size_bytes
            and head.metadata.get("sha256", receipt.artifact.sha256) == receipt.artifact.sha256
        )
        if is_sound:
            return receipt
        self._store.delete(self._keys.receipt)
        return None

    def newest_claim(self) -> Claim | None:
        """Return the claim of the last attempt that anybody made, None when there is none."""
        newest: Claim | None = None
        attempt = max(1, self._seen)
        while (claim := self._store.read_json(self._keys.claim(attempt), Claim)) is not None:
            newest, self._seen = claim, attempt
            attempt += 1
        return newest

    def claim(self, attempt: int, cause: str, endpoint_id: str) -> Claim | None:
        """Write the intent to submit an attempt; None when somebody else was first."""
        claim = Claim(
            fingerprint=self._keys.fingerprint,
            stage=self._stage,
            attempt=attempt,
            task_id=self._task_id,
            cause=cause,
            claimed_at=datetime.now(UTC),
            endpoint_id=endpoint_id,
        )
        return claim if self._store.put_json(self._keys.claim(attempt), claim, if_absent=True) else None

    def submitted(self, claim: Claim, job_id: str) -> Claim:
        """Write down which RunPod job the claim became; only the claim's writer calls this."""
        known = claim.model_copy(update={"job_id": job_id})
        self._store.put_json(self._keys.claim(claim.attempt), known, if_absent=False)
        return known
