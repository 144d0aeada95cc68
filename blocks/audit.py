"""The audit chain in the bucket: `audit/{day}/{number}.json`, appended by conditional put.

A conditional put on the only key that can follow decides who writes it: the chain never forks, not even at midnight.

The chain shows what was changed inside it. Whoever may write to the bucket can still rewrite it from some entry to its
end: keep `ChainReport.tip` elsewhere from time to time and hand it to `verify_chain`.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from pydantic import BaseModel

from gpu_tasks.contract.artifacts import AUDIT
from gpu_tasks.contract.audit import AuditEntry, AuditEvent, AuditFact, ChainReport, Tip, examine, sequence_in
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.storage import ArtifactStore, StorageError

Model = TypeVar("Model", bound=BaseModel)

# Where the chain ended when somebody last wrote to it: saves listing, and remembers an end that was removed.
TIP_KEY = f"{AUDIT}tip.json"
# With n writers at once the last loses n - 1 races; each lost race is an entry of somebody else.
_MAX_RACES = 200
_READERS = 16
_BATCH = 64


class AuditLog:
    """The chain in one bucket. Threads and processes may append at once."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store

    def append(self, fact: AuditFact, *, now: datetime | None = None) -> AuditEntry:
        """Put a fact at the end of the chain and return it as it stands there.

        Raises:
            StorageError: STORAGE_UNAVAILABLE, also when others were always first; OBJECT_CORRUPT when the last entry
                cannot be read: a person has to look before anything follows it.
        """
        tip = self._tip()
        for _ in range(_MAX_RACES):
            entry = AuditEntry.after(tip, fact, now or datetime.now(UTC))
            if not self._store.put_json(entry.key, entry, if_absent=True):
                tip = self._end_from(entry.key)
                continue
            # May go back by a few entries when two write it at once: whoever reads it walks on from there.
            self._store.put_json(TIP_KEY, entry.tip, if_absent=False)
            if entry.event is fact.event:
                return entry
            tip = entry.tip
        raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"{_MAX_RACES} others wrote to the audit chain first.")

    def erase_consent(self, key: str, *, actor: str) -> bool:
        """Remove what a consent's id was made from and say so in the chain; False when there is nothing to erase.

        Args:
            key: Of the entry that holds the consent.
            actor: Who asks for it.

        Raises:
            StorageError: As for `append`; STORAGE_UNAVAILABLE when somebody else writes the entry.
        """
        found = self._store.read_tagged(key, AuditEntry) if sequence_in(key) is not None else None
        if found is None or (consent := found[0].consent) is None or consent.is_erased:
            return False
        entry, etag = found
        # Said first: an erasure that is cut off in between is done again, one that nobody knows of is a broken chain.
        self.append(
            AuditFact(event=AuditEvent.CONSENT_ERASED, actor=actor, task_id=entry.task_id, consent=consent.erased())
        )
        if not self._store.replace_json(key, entry.model_copy(update={"consent": consent.erased()}), etag=etag):
            raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"Writes to {key} are in conflict.")
        return True

    def verify_chain(self, *, known: Tip | None = None) -> ChainReport:
        """Read the whole chain and say what is wrong with it.

        Args:
            known: A tip from an earlier report, kept elsewhere: shows that the chain was not cut short or rewritten.

        Raises:
            StorageError: STORAGE_UNAVAILABLE.
        """
        # Read before the entries: it then names none that was appended while they were listed.
        noted = self._read(TIP_KEY, Tip)
        with ThreadPoolExecutor(_READERS) as readers:
            keys = (key for key in self._store.keys(AUDIT) if key != TIP_KEY)
            entries = (
                found for batch in _batches(keys) for found in zip(batch, readers.map(self._entry, batch), strict=True)
            )
            return examine(entries, [tip for tip in (noted, known) if tip is not None])

    def _entry(self, key: str) -> AuditEntry | None:
        return self._read(key, AuditEntry) if sequence_in(key) is not None else None

    def _read(self, key: str, kind: type[Model]) -> Model | None:
        """Return what lies under a key, None when it is nothing of this kind."""
        try:
            return self._store.read_json(key, kind)
        except StorageError as error:
            if error.fault.code is FaultCode.OBJECT_CORRUPT:
                return None
            raise

    def _tip(self) -> Tip | None:
        noted = self._read(TIP_KEY, Tip)
        if noted is None:
            keys = (key for key in self._store.keys(AUDIT) if sequence_in(key) is not None)
            last = max(keys, default=None, key=lambda key: sequence_in(key) or 0)
            return self._end_from(last) if last is not None else None
        # An end that was removed is not filled again: what follows it leaves the gap for all to see.
        return self._end_from(noted.next_key) or noted

    def _end_from(self, key: str) -> Tip | None:
        """Return the end of the chain from an entry on, None when there is no such entry."""
        tip = None
        while (entry := self._store.read_json(key, AuditEntry)) is not None:
            tip, key = entry.tip, entry.tip.next_key
        return tip


def _batches(keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
    iterator = iter(keys)
    while batch := tuple(islice(iterator, _BATCH)):
        yield batch
