"""The record of a run as Prefect knows it: pure functions, for when the mirror is empty, late or away."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType, TaskRun

from blocks import record_changes
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ErrorRecord, TaskRecord

# How long a flow may need, after its end, to say in its own words why it ended: Prefect runs its hooks afterwards.
GRACE = timedelta(seconds=2)

# Names of the flow's tasks and the stage a reader sees while they run.
_STAGE_OF_TASK = {
    "ingest": Stage.INGEST,
    "lip_sync": Stage.WAV2LIP,
    "face_swap": Stage.FACEFUSION,
    "assemble": Stage.ASSEMBLE,
    "publish": Stage.PUBLISH,
}

_WAITING = {StateType.SCHEDULED, StateType.PENDING}
_WORKING = {StateType.RUNNING, StateType.CANCELLING, StateType.PAUSED}
_CRASHED = "The process that worked on it ended before it could say why; send the request again."
_UNRECORDED = "It left no record of the reason; the run is in the Prefect UI."


def first_record(run: FlowRun) -> TaskRecord:
    """Return the record of a run that was just created."""
    return record_changes.queued(str(run.id), run.parameters["request"], now=run.created or datetime.now(UTC))


def rebuilt(run: FlowRun, task_runs: Sequence[TaskRun], known: TaskRecord | None, *, now: datetime) -> TaskRecord:
    """Return the record that fits the run's state.

    A run that ended less than GRACE ago and has left no word yet still counts as running.

    Args:
        run: As Prefect tells it.
        task_runs: Its task runs; only looked at while it counts as running.
        known: The newest record there is of it, from its artifact or from the mirror.
        now: The time of the reader.
    """
    # A record from before a restart says nothing about the new attempt but its history.
    record = record_changes.restarted(known or first_record(run), attempts=run.run_count, now=now)
    state_type = run.state_type
    if record.status.is_final or state_type in _WAITING:
        return record
    if state_type in _WORKING or _may_still_speak(run, now):
        for stage, since in _stages_reached(run, task_runs):
            record = record_changes.entered(record, stage, now=since)
        return record
    if state_type is StateType.FAILED:
        return record_changes.failed(record, _error(_UNRECORDED, record), now=now)
    if state_type is StateType.CRASHED:
        return record_changes.failed(record, _error(_CRASHED, record), now=now)
    if state_type is StateType.CANCELLED:
        return record_changes.cancelled(record, now=now)
    # Completed, but a result is what a record names.
    return record_changes.failed(record, _error("It was not recorded.", record, FaultCode.RESULT_MISSING), now=now)


def _may_still_speak(run: FlowRun, now: datetime) -> bool:
    # Not start_time: Prefect sets that, too, for a run that was cancelled before it started.
    if run.run_count == 0 or run.state is None:
        return False
    # Clocks differ: an end in the future is an end.
    return timedelta() <= now - run.state.timestamp < GRACE


def _stages_reached(run: FlowRun, task_runs: Sequence[TaskRun]) -> list[tuple[Stage, datetime]]:
    """Return the stages whose tasks have started and when, in that order; every run begins with the first."""
    reached = [(Stage.INGEST, run.start_time)] if run.start_time and run.run_count else []
    for task_run in task_runs:
        # Prefect adds a number to the name of each task run, unless the task names its runs itself.
        stage = _STAGE_OF_TASK.get(task_run.name) or _STAGE_OF_TASK.get(task_run.name.rpartition("-")[0])
        if stage is not None and task_run.start_time is not None:
            reached.append((stage, task_run.start_time))
    return sorted(reached, key=lambda pair: pair[1])


def _error(detail: str, record: TaskRecord, code: FaultCode = FaultCode.INTERNAL) -> ErrorRecord:
    fault = FaultError(code, detail).fault
    return ErrorRecord(error=fault.code, detail=fault.detail, stage=record.stage.value, retryable=fault.is_retryable)
