"""The record as Prefect knows it, from runs and task runs as Prefect's client returns them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun

from api_shim.rebuild import GRACE, first_record, rebuilt
from blocks import record_changes
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ErrorRecord, RecordStage, Status
from tests.api.orchestra import RESULT

BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = BEGIN + timedelta(minutes=5)


def _run(state: StateType, *, attempts: int = 1, ended: datetime = BEGIN) -> FlowRun:
    return FlowRun(
        id=uuid4(),
        flow_id=uuid4(),
        name="a-run",
        parameters={"request": {"target_key": "uploads/video/t.mp4"}},
        created=BEGIN,
        start_time=BEGIN,
        run_count=attempts,
        state=State(type=state, timestamp=ended),
        state_type=state,
    )


def _task_run(run: FlowRun, name: str, minutes: int) -> TaskRun:
    return TaskRun(
        id=uuid4(),
        flow_run_id=UUID(str(run.id)),
        task_key=name,
        dynamic_key="0",
        name=name,
        start_time=BEGIN + timedelta(minutes=minutes),
    )


@pytest.mark.parametrize("state", StateType)
def test_every_state_of_prefect_has_a_word_on_the_wire(state: StateType) -> None:
    expected = {
        StateType.SCHEDULED: Status.PENDING,
        StateType.PENDING: Status.PENDING,
        StateType.RUNNING: Status.RUNNING,
        StateType.PAUSED: Status.RUNNING,
        StateType.CANCELLING: Status.RUNNING,
        StateType.FAILED: Status.FAILED,
        StateType.CRASHED: Status.FAILED,
        StateType.CANCELLED: Status.CANCELLED,
        StateType.COMPLETED: Status.FAILED,  # with no record of a result
    }
    record = rebuilt(_run(state), [], None, now=LATER)
    assert record.status is expected[state]
    assert (record.error is not None) == (record.status is Status.FAILED)


@pytest.mark.parametrize(
    ("names", "stage"),
    [
        ([], RecordStage.INGEST),
        (["ingest-0"], RecordStage.INGEST),
        (["lip_sync-0a1", "ingest-b2c"], RecordStage.WAV2LIP),
        (["assemble", "face_swap-0", "lip_sync-0", "ingest-0"], RecordStage.ASSEMBLE),
        (["deliver-webhook-0"], RecordStage.INGEST),
    ],
)
def test_the_stage_of_a_working_run_is_that_of_its_latest_task(names: list[str], stage: RecordStage) -> None:
    run = _run(StateType.RUNNING)
    task_runs = [_task_run(run, name, minutes=len(names) - place) for place, name in enumerate(names)]
    assert rebuilt(run, task_runs, None, now=LATER).stage is stage


def test_a_run_that_has_just_failed_may_still_say_why() -> None:
    run = _run(StateType.FAILED, ended=LATER)
    assert rebuilt(run, [], None, now=LATER + GRACE / 2).status is Status.RUNNING
    assert rebuilt(run, [], None, now=LATER + GRACE).status is Status.FAILED


def test_a_run_that_never_started_has_nothing_more_to_say() -> None:
    run = _run(StateType.CANCELLED, attempts=0, ended=LATER)
    assert rebuilt(run, [], None, now=LATER).status is Status.CANCELLED


def test_a_known_end_is_kept_whatever_prefect_says_later() -> None:
    run = _run(StateType.CRASHED)
    known = record_changes.completed(first_record(run), RESULT, now=BEGIN)
    assert rebuilt(run, [], known, now=LATER) == known


def test_a_failure_from_before_a_restart_is_not_the_end() -> None:
    run = _run(StateType.RUNNING, attempts=2)
    fault = ErrorRecord(error=FaultCode.INTERNAL, detail="It broke.", stage="wav2lip")
    known = record_changes.failed(first_record(run), fault, now=BEGIN)
    record = rebuilt(run, [_task_run(run, "lip_sync-0", minutes=2)], known, now=LATER)
    assert (record.status, record.stage, record.attempts) == (Status.RUNNING, RecordStage.WAV2LIP, 2)
    assert record.error is None


def test_a_result_that_was_told_before_a_restart_stays() -> None:
    run = _run(StateType.RUNNING, attempts=2)
    known = record_changes.completed(first_record(run), RESULT, now=BEGIN)
    record = rebuilt(run, [_task_run(run, "lip_sync-0", minutes=2)], known, now=LATER)
    assert (record.status, record.result, record.attempts) == (Status.COMPLETED, RESULT, 2)


def test_what_the_mirror_knew_is_kept() -> None:
    run = _run(StateType.CRASHED)
    known = record_changes.noted(first_record(run), details={"wav2lip_job_id": "j-1"}, now=BEGIN)
    known = record_changes.entered(known, Stage.WAV2LIP, now=BEGIN)
    record = rebuilt(run, [], known, now=LATER)
    assert record.details["wav2lip_job_id"] == "j-1"
    assert record.error is not None
    assert record.error.stage == "wav2lip"
