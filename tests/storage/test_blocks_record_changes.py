"""Records only go forward."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocks import record_changes
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ErrorRecord, RecordStage, ResultRecord, Status, TaskRecord

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ERROR = ErrorRecord(error=FaultCode.INTERNAL, detail="Why.")
RESULT = ResultRecord(
    output_key="outputs/a.mp4", duration_sec=1, bytes_uploaded=1, encoder="libx264", audio_merge="merged", sha256="0"
)


@pytest.fixture
def record() -> TaskRecord:
    return record_changes.queued("task", {"target_key": "uploads/t.mp4"}, now=NOW)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


CHANGES = st.one_of(
    st.builds(lambda stage: lambda record, now: record_changes.entered(record, stage, now=now), st.sampled_from(Stage)),
    st.builds(
        lambda stage, percent: lambda record, now: record_changes.progressed(record, stage, percent, "so far", now=now),
        st.sampled_from(Stage),
        st.floats(0, 100),
    ),
    st.just(lambda record, now: record_changes.completed(record, RESULT, now=now)),
    st.just(lambda record, now: record_changes.failed(record, ERROR, now=now)),
    st.just(lambda record, now: record_changes.cancelled(record, now=now)),
)


# Any time will do on a busy machine.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CHANGES, st.floats(-10, 10)), max_size=30))
def test_whatever_comes_late_nothing_goes_back(changes: list[tuple[object, float]]) -> None:
    record = record_changes.queued("task", {}, now=NOW)
    order = list(RecordStage)
    for change, seconds in changes:
        after: TaskRecord = change(record, at(seconds))  # type: ignore[operator]  # one of CHANGES
        assert order.index(after.stage) >= order.index(record.stage)
        assert after.percent >= record.percent
        assert after.updated_at >= record.updated_at
        assert after is record or after.revision == record.revision + 1
        if record.status.is_final:
            assert after is record
        record = after


def test_news_of_one_stage_replace_each_other(record: TaskRecord) -> None:
    record = record_changes.entered(record, Stage.WAV2LIP, now=at(1))
    for percent in range(10, 60):
        record = record_changes.progressed(record, Stage.WAV2LIP, percent, "changing frames", now=at(percent))
    assert [entry.message for entry in record.progress] == ["Queued.", "Entered wav2lip.", "changing frames"]
    assert record.percent == 59


def test_the_history_is_bounded_and_keeps_its_beginning(record: TaskRecord) -> None:
    for second in range(500):
        record = record_changes.entered(record, Stage.INGEST, now=at(second))
    assert len(record.progress) == record_changes.MAX_PROGRESS
    assert record.progress[0].message == "Queued."
    assert record.progress[-1].timestamp == at(499)


def test_costs_add_up_and_a_stage_told_twice_counts_once(record: TaskRecord) -> None:
    for stage, seconds in ((Stage.WAV2LIP, 2.5), (Stage.FACEFUSION, 3.0), (Stage.WAV2LIP, 2.0)):
        record = record_changes.charged(record, stage, seconds, now=NOW)
    assert record.cost.gpu_seconds == 5.0
    assert record.cost.by_stage == {"wav2lip": 2.0, "facefusion": 3.0}
    assert record.cost.usd is None


def test_dollars_add_up_only_when_every_stage_has_a_price(record: TaskRecord) -> None:
    record = record_changes.charged(record, Stage.WAV2LIP, 2.0, 0.4, now=NOW)
    assert record.cost.usd == 0.4
    half = record_changes.charged(record, Stage.FACEFUSION, 3.0, None, now=NOW)
    assert half.cost.usd is None
    whole = record_changes.charged(half, Stage.FACEFUSION, 3.0, 0.6, now=NOW)
    assert whole.cost.usd == 1.0
    assert whole.cost.usd_by_stage == {"wav2lip": 0.4, "facefusion": 0.6}


def test_facts_that_are_known_cost_no_write(record: TaskRecord) -> None:
    once = record_changes.noted(record, now=NOW, details={"engine": "draft"})
    assert record_changes.noted(once, now=at(1), details={"engine": "draft"}) is once


def test_only_a_newer_attempt_leads_out_of_the_end(record: TaskRecord) -> None:
    ended = record_changes.failed(record, ERROR, now=NOW)
    assert record_changes.restarted(ended, attempts=1, now=NOW) is ended
    again = record_changes.restarted(ended, attempts=2, now=NOW)
    assert (again.status, again.stage, again.error, again.attempts) == (Status.PENDING, RecordStage.QUEUED, None, 2)


def test_nothing_leads_out_of_a_told_result(record: TaskRecord) -> None:
    told = record_changes.completed(record, RESULT, now=NOW)
    again = record_changes.restarted(told, attempts=2, now=at(1))
    assert again.attempts == 2
    assert (again.status, again.result, again.progress) == (told.status, told.result, told.progress)
