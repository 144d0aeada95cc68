"""What one job's executions leave in the bucket: start markers before models load, one receipt at the end."""

from datetime import UTC, datetime

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob, fingerprint, keys_of
from gpu_tasks.contract.receipts import Receipt, StartMarker
from gpu_tasks.storage import ArtifactStore

# RunPod starts a job whose worker died again; one that kills every worker must come to an end.
_MOST_EXECUTIONS = 16
_SETTLE_ATTEMPTS = 4


class Ledger:
    """One job's entries, as one RunPod job on one worker reads and writes them."""

    def __init__(self, store: ArtifactStore, job: Wav2LipJob | FaceFusionJob, *, job_id: str, worker_id: str) -> None:
        self._store = store
        self._job = job
        self._job_id = job_id
        self._worker_id = worker_id
        self._made_at = datetime.now(UTC)
        self.keys = keys_of(job)

    def receipt(self) -> Receipt | None:
        """Return the receipt that stands: one whose object is still there, with that digest."""
        receipt = self._store.read_json(self.keys.receipt, Receipt)
        return receipt if receipt is not None and self._stands(receipt) else None

    def start(self) -> StartMarker:
        """Mark that this execution begins.

        Raises:
            FaultError: SUPERSEDED when a newer attempt is claimed or another RunPod job runs this attempt,
                RUNPOD_JOB_FAILED when this job has killed too many workers.
            StorageError: STORAGE_UNAVAILABLE.
        """
        if self._store.head(self.keys.claim(self._job.attempt + 1)) is not None:
            raise FaultError(FaultCode.SUPERSEDED, f"Attempt {self._job.attempt + 1} is claimed.")
        for execution in range(1, _MOST_EXECUTIONS + 1):
            marker = StartMarker(
                fingerprint=fingerprint(self._job),
                stage=self._job.stage,
                attempt=self._job.attempt,
                execution=execution,
                job_id=self._job_id,
                worker_id=self._worker_id,
                started_at=datetime.now(UTC),
            )
            key = self.keys.started(self._job.attempt, execution)
            if self._store.put_json(key, marker, if_absent=True):
                return marker
            earlier = self._store.read_json(key, StartMarker)
            if earlier is not None and earlier.job_id != self._job_id:
                raise FaultError(FaultCode.SUPERSEDED, f"Attempt {self._job.attempt} runs as another job.")
            if earlier is not None and earlier.worker_id == self._worker_id and earlier.started_at >= self._made_at:
                # Ours: the bucket took it, but its answer was lost.
                return earlier
        raise FaultError(FaultCode.RUNPOD_JOB_FAILED, f"It was started {_MOST_EXECUTIONS} times and never finished.")

    def settle(self, receipt: Receipt) -> Receipt:
        """Write the receipt and return the one that counts: ours, or that of an execution that was faster."""
        for _ in range(_SETTLE_ATTEMPTS):
            if self._store.put_json(self.keys.receipt, receipt, if_absent=True):
                return receipt
            found = self._store.read_tagged(self.keys.receipt, Receipt)
            if found is None:
                continue
            winner, etag = found
            if self._stands(winner):
                return winner
            # Lifecycle took its object away: a receipt without an object is no result.
            if self._store.replace_json(self.keys.receipt, receipt, etag=etag):
                return receipt
        raise FaultError(FaultCode.STORAGE_UNAVAILABLE, "The receipt could not be written.")

    def _stands(self, receipt: Receipt) -> bool:
        head = self._store.head(receipt.artifact.key)
        return head is not None and (head.size_bytes, head.metadata.get("sha256")) == (
            receipt.artifact.size_bytes,
            receipt.artifact.sha256,
        )
