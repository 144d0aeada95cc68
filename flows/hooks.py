"""The end of a run that the flow itself could not write down: cancelled, crashed, or failed before it began.

On a stock process pool these run in the worker that supervises the run's process, so they take nothing from memory.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.logging import get_logger

from blocks import record_changes, registry
from blocks.job_store import JobStore
from flows.recording import RunRecord
from flows.stopping import stop_jobs
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import ErrorRecord, TaskRecord

_logger = get_logger(__name__)


async def close_record(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Close the record of a run, unless the flow has done so; stop the GPU jobs of a cancelled one.

    Its own process stops its jobs, too; here it is done for a process that was killed before it could.
    """
    _logger.info("Closing the record of %s %s: %s.", flow.name, flow_run.name, state.name)
    await _close(flow_run, _CHANGES[state.type])


async def give_up(flow_run: FlowRun) -> None:
    """Close the record of a run whose workers die one after the other, and stop its GPU jobs."""
    await _close(flow_run, _given_up)


async def _close(run: FlowRun, change: Callable[[TaskRecord], TaskRecord]) -> None:
    first = record_changes.queued(str(run.id), run.parameters.get("request", {}), now=run.created or _now())
    record = RunRecord(await JobStore.aload(registry.JOBS), first)
    await record.begin(attempts=run.run_count)
    if record.record.status.is_final:
        return
    if change in {_cancelled, _given_up}:
        # Said before the record is closed: the caller of a cancelled run may know that nothing is billed any more.
        for stopped in await stop_jobs(record.record):
            await record.change(partial(stopped.told_in, now=_now()))
    await record.finish(change)


def _failed(record: TaskRecord) -> TaskRecord:
    return record_changes.failed(record, _error(record, FaultCode.INTERNAL, "See the run in Prefect."), now=_now())


def _crashed(record: TaskRecord) -> TaskRecord:
    error = _error(record, FaultCode.INTERNAL, "The process that worked on it ended.")
    return record_changes.failed(record, error, now=_now())


def _given_up(record: TaskRecord) -> TaskRecord:
    return record_changes.failed(record, _error(record, FaultCode.ORCHESTRATOR_LOST), now=_now())


def _cancelled(record: TaskRecord) -> TaskRecord:
    return record_changes.cancelled(record, _error(record, FaultCode.CANCELLED), now=_now())


def _error(record: TaskRecord, code: FaultCode, detail: str = "") -> ErrorRecord:
    fault = FaultError(code, detail).fault
    return ErrorRecord(error=fault.code, detail=fault.detail, stage=record.stage.value, retryable=fault.is_retryable)


# The states in which Prefect calls the hook.
_CHANGES: Mapping[StateType, Callable[[TaskRecord], TaskRecord]] = MappingProxyType(
    {
        StateType.FAILED: _failed,
        StateType.CRASHED: _crashed,
        StateType.CANCELLING: _cancelled,
        StateType.CANCELLED: _cancelled,
    }
)


def _now() -> datetime:
    return datetime.now(UTC)
