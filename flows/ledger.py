"""What the bucket knows of GPU jobs: who claimed their attempts, how these ended, and their receipts.

The claims are the ledger of the money: each attempt has one, with its cause, written before anything is submitted.
Who reads it reads `JobAccount`s: `read_account` of one job, `read_accounts` of many.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, TypeVar

from flows.accounts import JobAccount, Traces, account_of
from gpu_tasks.contract.artifacts import WORK, WorkKeys
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.receipts import AttemptEnd, Claim, Receipt, StartMarker
from gpu_tasks.storage import ArtifactStore, StorageError

Entry = TypeVar("Entry", Claim, StartMarker, AttemptEnd)

_READERS = 16
_CLOCKS_DIFFER = timedelta(minutes=5)


class Cause(StrEnum):
    """Why an attempt is made; the others are named by the code of the fault that the attempt before ended with."""

    FIRST = "first"
    INTENT_WITHOUT_JOB = "intent_without_job"
    JOB_LOST = "job_lost"
    SUBMIT_UNCLEAR = "submit_unclear"


class Terms(NamedTuple):
    """Under which an attempt is submitted: where, for how long at most, and at what price."""

    endpoint_id: str
    life_seconds: float
    execution_seconds: float
    usd_per_second: float | None = None


class JobLedger:
    """Claims and receipt of one job, for one run. All methods wait for the bucket: call them in a thread."""

    def __init__(self, store: ArtifactStore, keys: WorkKeys, *, task_id: str) -> None:
        self._store = store
        self._keys = keys
        self._task_id = task_id
        # Claims are never taken back, so the newest known one is where the next look begins.
        self._seen = 0

    @property
    def fingerprint(self) -> str:
        return self._keys.fingerprint

    def receipt(self) -> Receipt | None:
        """Return the receipt when it names an object that is there with that size and digest.

        A receipt whose object is gone would be handed out by every later worker: it is removed.

        Raises:
            StorageError: OBJECT_CORRUPT when there is another object than the receipt names; both are left to be
                looked at, and `discard` makes way for another attempt.
        """
        receipt = self._store.read_json(self._keys.receipt, Receipt)
        if receipt is None:
            return None
        head = self._store.head(receipt.artifact.key)
        if head is None:
            self._store.delete(self._keys.receipt)
            return None
        # An object without a digest among its metadata was not written by us, but may have been moved by an operator.
        sha256 = head.metadata.get("sha256", receipt.artifact.sha256)
        if (head.size_bytes, sha256) != (receipt.artifact.size_bytes, receipt.artifact.sha256):
            raise StorageError(
                FaultCode.OBJECT_CORRUPT, f"Key: {receipt.artifact.key}; see who else writes to R2_BUCKET."
            )
        return receipt

    def discard(self) -> None:
        """Remove a receipt whose object is not what it names."""
        self._store.delete(self._keys.receipt)

    def newest_claim(self) -> Claim | None:
        """Return the claim of the last attempt that anybody made, None when there is none."""
        newest: Claim | None = None
        attempt = max(1, self._seen)
        while (claim := self._store.read_json(self._keys.claim(attempt), Claim)) is not None:
            newest, self._seen = claim, attempt
            attempt += 1
        return newest

    def claim(self, attempt: int, cause: str, terms: Terms) -> Claim | None:
        """Write the intent to submit an attempt; None when somebody else was first."""
        claim = Claim(
            fingerprint=self._keys.fingerprint,
            stage=Stage(self._keys.stage),
            attempt=attempt,
            task_id=self._task_id,
            cause=cause,
            claimed_at=datetime.now(UTC),
            endpoint_id=terms.endpoint_id,
            life_seconds=terms.life_seconds,
            execution_seconds=terms.execution_seconds,
            usd_per_second=terms.usd_per_second,
        )
        return claim if self._store.put_json(self._keys.claim(attempt), claim, if_absent=True) else None

    def submitted(self, claim: Claim, job_id: str) -> Claim:
        """Write down which RunPod job the claim became; only the claim's writer calls this."""
        known = claim.model_copy(update={"job_id": job_id})
        self._store.put_json(self._keys.claim(claim.attempt), known, if_absent=False)
        return known

    def ended(self, end: AttemptEnd) -> None:
        """Write down how an attempt ended, unless somebody has done so."""
        self._store.put_json(self._keys.ended(end.attempt), end, if_absent=True)

    def end_of(self, attempt: int) -> AttemptEnd | None:
        """Return how an attempt ended, None when nobody has written it down."""
        return self._store.read_json(self._keys.ended(attempt), AttemptEnd)

    def begun(self, attempt: int) -> StartMarker | None:
        """Return what a worker has left that has begun an attempt: it knows the job id when nobody else does."""
        return self._store.read_json(self._keys.started(attempt, 1), StartMarker)

    def account(self) -> JobAccount:
        """Return everything that the job has cost so far, whoever paid."""
        return read_account(self._store, self._keys)


def read_account(store: ArtifactStore, keys: WorkKeys) -> JobAccount:
    """Read all that the bucket holds of one job and make an account of it.

    Raises:
        StorageError: STORAGE_UNAVAILABLE or STORAGE_REFUSED, OBJECT_CORRUPT when an entry cannot be read.
    """
    claims: list[Claim] = []
    markers: list[StartMarker] = []
    ends: list[AttemptEnd] = []
    for key in store.keys(f"{keys.folder}/"):
        name = key.rpartition("/")[2]
        if name.startswith("claim-"):
            claims += _present(store.read_json(key, Claim))
        elif name.startswith("started-"):
            markers += _present(store.read_json(key, StartMarker))
        elif name.startswith("ended-"):
            ends += _present(store.read_json(key, AttemptEnd))
    receipt = store.read_json(keys.receipt, Receipt)
    traces = Traces(keys.stage, keys.fingerprint, claims, markers, ends, receipt)
    return account_of(traces, now=datetime.now(UTC))


def read_accounts(
    store: ArtifactStore, *, fingerprint: str = "", task_id: str | None = None, since: datetime | None = None
) -> Iterator[JobAccount]:
    """Yield the accounts of jobs that were claimed, in the order of stage and fingerprint.

    Args:
        store: The bucket.
        fingerprint: Only jobs whose fingerprint begins so.
        task_id: Only jobs for which this run has claimed an attempt.
        since: Only jobs claimed or worked on since then.

    Raises:
        StorageError: As for `read_account`.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        for batch in _batches(_claimed(store, fingerprint, since)):
            for account in readers.map(lambda keys: read_account(store, keys), batch):
                if task_id is None or any(entry.task_id == task_id for entry in account.executions):
                    yield account


def _claimed(store: ArtifactStore, fingerprint: str, since: datetime | None) -> Iterator[WorkKeys]:
    # Clocks of the store and ours differ; what is too early is left out by its own time.
    earliest = since - _CLOCKS_DIFFER if since else None
    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        newest = ""
        for key in store.keys(f"{WORK}{stage}/{fingerprint}", since=earliest):
            folder, _, name = key.rpartition("/")
            found = folder.rpartition("/")[2]
            if name.startswith(("claim-", "started-", "ended-")) and found != newest:
                newest = found
                yield WorkKeys(stage=stage, fingerprint=found)


def _present(found: Entry | None) -> list[Entry]:
    return [] if found is None else [found]


def _batches(keys: Iterator[WorkKeys]) -> Iterator[tuple[WorkKeys, ...]]:
    while batch := tuple(islice(keys, _READERS)):
        yield batch
