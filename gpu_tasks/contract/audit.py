"""Entries of the audit chain, and what a walk along them finds: pure, the bucket is not known here.

Each entry holds the digest of the one before, and after each exactly one key can follow, whatever a writer's clock
says. A day ends with an entry that names the next one; then nothing more goes into it. The chain begins in the same
way, with an entry on a day before all others: two first writers around midnight would otherwise begin two chains.
"""

import re
import secrets
from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gpu_tasks.contract.artifacts import AUDIT, Digest
from gpu_tasks.contract.consent import RecordedConsent
from gpu_tasks.contract.jobs import digest_of
from gpu_tasks.contract.records import UtcTime

ANONYMOUS = "anonymous"
# What the first entry holds in place of a predecessor's digest.
NO_ENTRY = "0" * 64
# The day of the entry with which the chain begins, and which names the first real day.
BEGINNING = date(1970, 1, 1)

_KEY = re.compile(rf"{AUDIT}\d{{4}}-\d{{2}}-\d{{2}}/(\d{{8}})\.json")
_NONCE_BYTES = 8
# The consent's id stands for it: what the id was made from can be erased without breaking the chain.
_NOT_SEALED = {"digest": True, "consent": {"salt", "declared"}}


class AuditEvent(StrEnum):
    """What the chain remembers."""

    CONSENT_DECLARED = "consent_declared"
    RUN_ACCEPTED = "run_accepted"
    OUTPUT_SIGNED = "output_signed"
    OUTPUT_DELETED = "output_deleted"
    VERIFY_ASKED = "verify_asked"
    CONSENT_ERASED = "consent_erased"
    CHAIN_BEGUN = "chain_begun"
    DAY_CLOSED = "day_closed"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuditFact(_Model):
    """What happened. `actor` is the id of an API key, a part of ours such as `pipeline`, or ANONYMOUS."""

    event: AuditEvent
    actor: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")] = ANONYMOUS
    task_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    inputs: tuple[Digest, ...] = ()
    outputs: tuple[Digest, ...] = ()
    # What was declared stands in one entry only; others name it.
    consent: RecordedConsent | None = None
    consent_id: Digest | None = None


class Tip(_Model):
    """An entry as its successor needs it, and as an operator keeps it elsewhere."""

    day: date
    sequence: int = Field(ge=0)
    digest: Digest
    next_day: date | None = None

    @property
    def key(self) -> str:
        return _key(self.day, self.sequence)

    @property
    def next_key(self) -> str:
        """The only key that can follow."""
        return _key(self.next_day or self.day, self.sequence + 1)


class AuditEntry(AuditFact):
    """A fact in its place. `nonce` makes two entries differ that say the same; `digest` seals all but itself."""

    version: int = 1
    day: date
    sequence: int = Field(ge=0)
    at: UtcTime
    nonce: str
    next_day: date | None = None
    previous: Digest
    digest: Digest = NO_ENTRY

    @classmethod
    def after(cls, tip: Tip | None, fact: AuditFact, at: datetime) -> Self:
        """Return the sealed entry that follows `tip`: the fact, or what has to stand in the chain before it."""
        today = at.astimezone(UTC).date()
        next_day = None
        if tip is None:
            fact, next_day = AuditFact(event=AuditEvent.CHAIN_BEGUN, actor="audit"), today
        elif tip.next_day is None and today > tip.day:
            fact, next_day = AuditFact(event=AuditEvent.DAY_CLOSED, actor="audit"), today
        entry = cls(
            **dict(fact),
            # A clock that is behind writes into the chain's day: the chain never goes back.
            day=BEGINNING if tip is None else tip.next_day or tip.day,
            sequence=0 if tip is None else tip.sequence + 1,
            at=at,
            nonce=secrets.token_hex(_NONCE_BYTES),
            next_day=next_day,
            previous=NO_ENTRY if tip is None else tip.digest,
        )
        return entry.model_copy(update={"digest": entry.seal()})

    @property
    def key(self) -> str:
        return _key(self.day, self.sequence)

    @property
    def tip(self) -> Tip:
        return Tip(day=self.day, sequence=self.sequence, digest=self.digest, next_day=self.next_day)

    def seal(self) -> str:
        """Return the digest that this content has to have."""
        return digest_of(self.model_dump(mode="json", exclude=_NOT_SEALED))  # type: ignore[arg-type]  # nested excludes


class BreakKind(StrEnum):
    """How a chain can be broken."""

    CHANGED = "changed"  # the content does not have its digest, or is no entry at all
    REMOVED = "removed"  # an entry that must be there is not
    MISPLACED = "misplaced"  # an entry under another key than its own
    FORGED = "forged"  # an entry that is sound by itself but does not follow the one before
    FOREIGN = "foreign"  # an object that is no part of the chain


class ChainBreak(_Model):
    """One thing that is wrong, under the key where it was found."""

    kind: BreakKind
    key: str
    sentence: str


class ChainReport(_Model):
    """What a walk along the whole chain found. Keep `tip` outside the bucket: a later walk is then held to it."""

    entries: int
    erased_consents: int
    tip: Tip | None
    breaks: tuple[ChainBreak, ...]

    @property
    def is_whole(self) -> bool:
        return not self.breaks


def sequence_in(key: str) -> int | None:
    """Return the number in an entry's key, None when it is no such key."""
    found = _KEY.fullmatch(key)
    return int(found.group(1)) if found else None


def examine(entries: Iterable[tuple[str, AuditEntry | None]], tips: Iterable[Tip] = ()) -> ChainReport:
    """Walk along a chain.

    Args:
        entries: Every key under the chain's folder in order, with what lies there; None for what is no entry.
        tips: Entries that were once there: known from elsewhere, or as the last writer noted.
    """
    walk = _Walk(tips)
    for key, entry in entries:
        walk.visit(key, entry)
    return walk.end()


class _Walk:
    """What has been seen of a chain so far."""

    def __init__(self, tips: Iterable[Tip]) -> None:
        self._awaited = {tip.sequence: tip for tip in tips}
        self._breaks: list[ChainBreak] = []
        self._count = 0
        self._number = -1
        # What the next entry has to follow; None after one whose place or content is unknown.
        self._last: Tip | None = None
        self._erased: dict[str, str] = {}
        self._announced: set[str] = set()

    def visit(self, key: str, entry: AuditEntry | None) -> None:
        number = sequence_in(key)
        if number is None:
            self._report(BreakKind.FOREIGN, key, "This is no key of an entry.")
            return
        self._count += 1
        is_next = self._take_number(key, number)
        last, self._last = self._last, None
        if entry is None:
            self._report(BreakKind.CHANGED, key, "What lies here is no entry.")
        elif entry.key != key:
            self._report(BreakKind.MISPLACED, key, f"This entry was written as {entry.key}.")
        else:
            self._check(entry)
            if is_next and last is not None and (entry.previous != last.digest or key != last.next_key):
                self._report(BreakKind.FORGED, key, f"It does not follow {last.key}: one of the two was put in later.")
            self._last = entry.tip

    def end(self) -> ChainReport:
        for tip in self._awaited.values():
            self._report(BreakKind.REMOVED, tip.key, "This entry was there once and is not there now.")
        for consent_id, key in self._erased.items():
            if consent_id not in self._announced:
                self._report(BreakKind.CHANGED, key, "Its consent was taken out and the chain does not say by whom.")
        return ChainReport(
            entries=self._count,
            erased_consents=len(self._erased),
            tip=self._last,
            breaks=tuple(self._breaks),
        )

    def _take_number(self, key: str, number: int) -> bool:
        expected, self._number = self._number + 1, max(number, self._number)
        if number > expected:
            first = self._last.next_key if self._last else key
            which = f"Entry {expected} is" if number == expected + 1 else f"Entries {expected} to {number - 1} are"
            self._report(BreakKind.REMOVED, first, f"{which} missing.")
        elif number < expected:
            self._report(BreakKind.FORGED, key, f"There is another entry with the number {number}.")
        return number == expected

    def _check(self, entry: AuditEntry) -> None:
        if entry.sequence == 0 and entry.previous != NO_ENTRY:
            self._report(BreakKind.FORGED, entry.key, "The first entry names one before it.")
        if entry.digest != entry.seal():
            self._report(BreakKind.CHANGED, entry.key, "Its content does not have the digest it was sealed with.")
        awaited = self._awaited.get(entry.sequence)
        if awaited is not None and awaited.key == entry.key:
            del self._awaited[entry.sequence]
            if awaited.digest != entry.digest:
                self._report(BreakKind.FORGED, entry.key, "Another entry was here before.")
        if entry.consent is None:
            return
        if not entry.consent.is_sound:
            self._report(BreakKind.CHANGED, entry.key, "Its consent is not the one that its id was made from.")
        elif entry.event is AuditEvent.CONSENT_ERASED:
            self._announced.add(entry.consent.id)
        elif entry.consent.is_erased:
            self._erased[entry.consent.id] = entry.key

    def _report(self, kind: BreakKind, key: str, sentence: str) -> None:
        self._breaks.append(ChainBreak(kind=kind, key=key, sentence=sentence))


def _key(day: date, sequence: int) -> str:
    return f"{AUDIT}{day.isoformat()}/{sequence:08d}.json"
