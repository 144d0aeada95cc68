from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context

import pytest
from pydantic import ValidationError

from blocks.audit import TIP_KEY, AuditLog
from gpu_tasks.contract.artifacts import AUDIT
from gpu_tasks.contract.audit import AuditEntry, AuditEvent, AuditFact, BreakKind, ChainReport, Tip
from gpu_tasks.contract.consent import Consent, ConsentBasis, RecordedConsent
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ACCEPTED = AuditFact(event=AuditEvent.RUN_ACCEPTED, actor="key-1", task_id="t", inputs=("a" * 64,))


@pytest.fixture
def log(store: ArtifactStore) -> AuditLog:
    for key in list(store.keys(AUDIT)):
        store.delete(key)
    return AuditLog(store)


def consent() -> RecordedConsent:
    return RecordedConsent.of(
        Consent(basis=ConsentBasis.LICENCE, statement="Model release 12.", declared_by="A. Person")
    )


def breaks_of(report: ChainReport) -> list[tuple[BreakKind, str]]:
    return [(found.kind, found.key.removeprefix(AUDIT)) for found in report.breaks]


def append(log: AuditLog, count: int, *, at: datetime = NOON) -> list[AuditEntry]:
    return [log.append(ACCEPTED.model_copy(update={"task_id": f"t{number}"}), now=at) for number in range(count)]


def test_an_empty_chain_is_whole(log: AuditLog) -> None:
    assert log.verify_chain() == ChainReport(entries=0, erased_consents=0, tip=None, breaks=())


def test_entries_stand_in_order_each_with_the_digest_of_the_one_before(log: AuditLog, store: ArtifactStore) -> None:
    held = consent()
    first = log.append(ACCEPTED.model_copy(update={"consent": held}), now=NOON)
    second = log.append(AuditFact(event=AuditEvent.OUTPUT_SIGNED, outputs=("b" * 64,)), now=NOON)
    assert [first.key, second.key] == ["audit/2026-11-22/00000001.json", "audit/2026-11-22/00000002.json"]
    beginning = store.read_json("audit/1970-01-01/00000000.json", AuditEntry)
    assert beginning is not None
    assert (beginning.previous, first.previous, second.previous) == ("0" * 64, beginning.digest, first.digest)
    assert (second.actor, second.at) == ("anonymous", NOON)
    found = store.read_json(first.key, AuditEntry)
    assert found == first
    assert found.consent == held
    report = log.verify_chain()
    assert report.is_whole
    assert (report.entries, report.tip) == (3, second.tip)


def test_a_day_is_closed_before_the_next_begins(log: AuditLog) -> None:
    append(log, 2)
    later = append(log, 1, at=NOON + timedelta(days=3))[0]
    assert (later.key, later.sequence) == ("audit/2026-11-25/00000004.json", 4)
    # A clock that is behind cannot reopen the day.
    behind = append(log, 1)[0]
    assert (behind.key, behind.at) == ("audit/2026-11-25/00000005.json", NOON)
    report = log.verify_chain()
    assert report.is_whole
    assert report.entries == 6


def append_one(store: ArtifactStore, number: int) -> str:
    # Half of the writers live on the next day: midnight comes while they race.
    at = NOON + timedelta(days=number % 2)
    fact = ACCEPTED.model_copy(update={"task_id": f"writer-{number}"})
    return AuditLog(store).append(fact, now=at).key


def append_two(settings: R2Settings, number: int) -> list[str]:
    store = connect(settings)
    return [append_one(store, 2 * number), append_one(store, 2 * number + 1)]


def test_sixteen_writers_make_one_chain(log: AuditLog, store: ArtifactStore) -> None:
    with ThreadPoolExecutor(16) as writers:
        keys = list(writers.map(append_one, [store] * 48, range(48)))
    assert len(set(keys)) == 48
    report = log.verify_chain()
    assert report.is_whole
    entries = [store.read_json(key, AuditEntry) for key in keys]
    assert {entry.task_id for entry in entries if entry} == {f"writer-{number}" for number in range(48)}
    # One more begins the chain, and one closes the first day unless the first writer of all lived on the second.
    assert report.entries in {49, 50}


def test_processes_too(log: AuditLog, bucket: R2Settings) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as writers:
        keys = [key for pair in writers.map(append_two, [bucket] * 4, range(4)) for key in pair]
    assert len(set(keys)) == 8
    assert log.verify_chain().is_whole


def changed(entry: AuditEntry) -> AuditEntry:
    return entry.model_copy(update={"actor": "somebody-else"})


def forged(entry: AuditEntry) -> AuditEntry:
    other = changed(entry)
    return other.model_copy(update={"digest": other.seal()})


def redated(entry: AuditEntry) -> AuditEntry:
    return entry.model_copy(update={"at": entry.at + timedelta(hours=1)})


@pytest.mark.parametrize(
    ("tamper", "kind", "where"),
    [(changed, BreakKind.CHANGED, 3), (redated, BreakKind.CHANGED, 3), (forged, BreakKind.FORGED, 4)],
)
def test_a_changed_entry_is_named(
    tamper: Callable[[AuditEntry], AuditEntry], kind: BreakKind, where: int, log: AuditLog, store: ArtifactStore
) -> None:
    third = append(log, 5)[2]
    store.put_json(third.key, tamper(third), if_absent=False)
    assert breaks_of(log.verify_chain()) == [(kind, f"2026-11-22/0000000{where}.json")]


def test_a_removed_entry_is_named(log: AuditLog, store: ArtifactStore) -> None:
    entries = append(log, 5)
    store.delete(entries[2].key)
    assert breaks_of(log.verify_chain()) == [(BreakKind.REMOVED, "2026-11-22/00000003.json")]
    store.delete(entries[1].key)
    (found,) = log.verify_chain().breaks
    assert (found.key, found.sentence) == (entries[1].key, "Entries 2 to 3 are missing.")


def test_a_removed_beginning_is_named(log: AuditLog, store: ArtifactStore) -> None:
    entries = append(log, 3)
    store.delete("audit/1970-01-01/00000000.json")
    store.delete(entries[0].key)
    (found,) = log.verify_chain().breaks
    assert (found.kind, found.sentence) == (BreakKind.REMOVED, "Entries 0 to 1 are missing.")


def test_a_removed_end_is_named_and_never_filled_again(log: AuditLog, store: ArtifactStore) -> None:
    entries = append(log, 4)
    for entry in entries[2:]:
        store.delete(entry.key)
    assert breaks_of(log.verify_chain()) == [(BreakKind.REMOVED, "2026-11-22/00000004.json")]
    following = append(log, 1)[0]
    assert following.sequence == 5
    assert breaks_of(log.verify_chain()) == [(BreakKind.REMOVED, "2026-11-22/00000003.json")]


def test_reordered_entries_are_named(log: AuditLog, store: ArtifactStore) -> None:
    entries = append(log, 4)
    store.put_json(entries[1].key, entries[2], if_absent=False)
    store.put_json(entries[2].key, entries[1], if_absent=False)
    assert breaks_of(log.verify_chain()) == [
        (BreakKind.MISPLACED, "2026-11-22/00000002.json"),
        (BreakKind.MISPLACED, "2026-11-22/00000003.json"),
    ]


def test_an_entry_that_was_put_in_is_named(log: AuditLog, store: ArtifactStore) -> None:
    entries = append(log, 3)
    tip = Tip(day=date(2026, 11, 21), sequence=1, digest="0" * 64)
    intruder = AuditEntry.after(tip, ACCEPTED, NOON - timedelta(days=1))
    store.put_json(intruder.key, intruder, if_absent=False)
    report = log.verify_chain()
    assert not report.is_whole
    assert BreakKind.FORGED in {found.kind for found in report.breaks}
    store.delete(intruder.key)
    appended = AuditEntry.after(entries[-1].tip.model_copy(update={"digest": "f" * 64}), ACCEPTED, NOON)
    store.put_json(appended.key, appended, if_absent=False)
    assert breaks_of(log.verify_chain()) == [(BreakKind.FORGED, "2026-11-22/00000004.json")]


def test_what_is_no_entry_is_named(log: AuditLog, store: ArtifactStore, bucket: R2Settings) -> None:
    entries = append(log, 3)
    store.put_json(entries[1].key, bucket, if_absent=False)
    store.put_json("audit/2026-11-22/note.json", bucket, if_absent=False)
    assert breaks_of(log.verify_chain()) == [
        (BreakKind.CHANGED, "2026-11-22/00000002.json"),
        (BreakKind.FOREIGN, "2026-11-22/note.json"),
    ]


def test_a_chain_written_anew_is_held_against_a_tip_kept_elsewhere(log: AuditLog, store: ArtifactStore) -> None:
    append(log, 3)
    known = log.verify_chain().tip
    append(log, 1)
    assert log.verify_chain(known=known).is_whole
    for key in list(store.keys(AUDIT)):
        store.delete(key)
    append(log, 4)
    assert log.verify_chain().is_whole
    assert breaks_of(log.verify_chain(known=known)) == [(BreakKind.FORGED, "2026-11-22/00000003.json")]
    store.delete(TIP_KEY)
    for number in (3, 4):
        store.delete(f"audit/2026-11-22/0000000{number}.json")
    assert log.verify_chain().is_whole
    assert breaks_of(log.verify_chain(known=known)) == [(BreakKind.REMOVED, "2026-11-22/00000003.json")]


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "garbled"])
def test_the_note_of_the_end_may_be_wrong(lost: bool, log: AuditLog, store: ArtifactStore, bucket: R2Settings) -> None:  # noqa: FBT001 - pytest passes it by name
    entries = append(log, 3)
    if lost:
        store.delete(TIP_KEY)
    else:
        store.put_json(TIP_KEY, bucket, if_absent=False)
    assert append(log, 1)[0].previous == entries[-1].digest
    # A note that is behind is walked on from.
    store.put_json(TIP_KEY, entries[0].tip, if_absent=False)
    assert append(log, 1)[0].sequence == 5
    assert log.verify_chain().is_whole


def test_a_consent_is_erased_without_breaking_the_chain(log: AuditLog, store: ArtifactStore) -> None:
    held = consent()
    entry = log.append(ACCEPTED.model_copy(update={"consent": held}))
    append(log, 1)
    assert log.erase_consent(entry.key, actor="operator")
    assert not log.erase_consent(entry.key, actor="operator")
    assert not log.erase_consent("outputs/t/result.mp4", actor="operator")
    found = store.read_json(entry.key, AuditEntry)
    assert found is not None
    assert found.consent == RecordedConsent(id=held.id)
    report = log.verify_chain()
    assert report.is_whole
    assert (report.entries, report.erased_consents) == (4, 1)


def test_a_consent_that_was_swapped_or_taken_out_in_silence_is_named(log: AuditLog, store: ArtifactStore) -> None:
    held, other = consent(), consent()
    entry = log.append(ACCEPTED.model_copy(update={"consent": held}), now=NOON)
    for swapped in (
        held.model_copy(update={"declared": other.declared, "salt": other.salt}),
        held.model_copy(update={"salt": None}),
        held.erased(),
        other,
    ):
        store.put_json(entry.key, entry.model_copy(update={"consent": swapped}), if_absent=False)
        assert breaks_of(log.verify_chain()) == [(BreakKind.CHANGED, "2026-11-22/00000001.json")]


def test_an_actor_is_an_id_and_nothing_else() -> None:
    for actor in ("", "a b", "A. Person", "x" * 65, "a\n"):
        with pytest.raises(ValidationError):
            AuditFact(event=AuditEvent.RUN_ACCEPTED, actor=actor)
