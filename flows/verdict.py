"""How an attempt ended that left no receipt: what RunPod or the worker said of it, in our own words. Pure."""

import json
from typing import NamedTuple

from pydantic import ValidationError

from blocks.runpod_client import JobStatus, JobView
from flows.ledger import Cause
from gpu_tasks.contract.faults import Fault, FaultCode, FaultError
from gpu_tasks.contract.receipts import AttemptEnd, JobReply, Progress

_LOG_LINES = 20

# Words of ours beside RunPod's statuses, for attempts of which RunPod says nothing.
NOT_QUEUED = "NOT_QUEUED"
UNCLEAR = "UNCLEAR"
EXPIRED = "EXPIRED"
LOST = "LOST"


class End(NamedTuple):
    """How an attempt ended without a receipt, and why the next one would be made."""

    attempt: int
    fault: Fault
    cause: str
    status: str
    log_tail: tuple[str, ...] = ()
    # The experience or the will of another run, which does not decide ours.
    is_foreign: bool = False
    # RunPod had the job, or may have it: this attempt counts.
    was_queued: bool = True


def end(  # noqa: PLR0913  # each a fact of the end
    attempt: int,
    code: FaultCode,
    detail: str = "",
    *,
    status: str,
    cause: str | None = None,
    log_tail: tuple[str, ...] = (),
    was_queued: bool = True,
) -> End:
    """Put an end into words."""
    fault = FaultError(code, detail).fault
    return End(attempt, fault, cause or code.value, status, log_tail, was_queued=was_queued)


def judge(attempt: int, view: JobView) -> End:
    """Say how a job ended that is over for RunPod and left no receipt."""
    match view.status:
        case JobStatus.COMPLETED:
            reply = _reply(view)
            if reply is not None and reply.fault is not None:
                return End(attempt, reply.fault, reply.fault.code.value, view.status, reply.log_tail)
            log_tail = reply.log_tail if reply else ()
            return end(attempt, FaultCode.RESULT_MISSING, status=view.status, log_tail=log_tail)
        case JobStatus.TIMED_OUT:
            return end(attempt, FaultCode.RUNPOD_JOB_TIMEOUT, "RunPod stopped it.", status=view.status)
        case JobStatus.CANCELLED:
            return end(attempt, FaultCode.RUNPOD_JOB_FAILED, "It was cancelled on RunPod.", status=view.status)
        case _:
            kind, log_tail = _crash(view.error)
            return end(attempt, FaultCode.RUNPOD_JOB_FAILED, kind, status=view.status, log_tail=log_tail)


def gone(attempt: int, *, is_expired: bool) -> End:
    """Say how a job ended that RunPod does not know any more."""
    if is_expired:
        return end(attempt, FaultCode.RUNPOD_JOB_EXPIRED, status=EXPIRED)
    return end(
        attempt, FaultCode.RUNPOD_JOB_FAILED, "RunPod no longer knows the job.", status=LOST, cause=Cause.JOB_LOST
    )


def without_job(attempt: int, known: AttemptEnd | None) -> End:
    """Say how an attempt ended of which nobody knows a job: as its submitter has written down, or by its death."""
    reason = known.fault if known and known.fault else None
    found = end(
        attempt,
        reason or FaultCode.RUNPOD_SUBMIT_FAILED,
        "" if known else "Its submitter died.",
        status=known.status if known else UNCLEAR,
        cause=reason.value if reason else Cause.INTENT_WITHOUT_JOB.value,
        was_queued=False,
    )
    return found._replace(is_foreign=True)


def progress_of(view: JobView) -> Progress | None:
    """Return what the worker says of its progress, None when it says nothing of the kind."""
    try:
        return Progress.model_validate(view.output) if view.output is not None else None
    except ValidationError:
        return None


def _reply(view: JobView) -> JobReply | None:
    try:
        return JobReply.model_validate(view.output)
    except ValidationError:
        return None


def _crash(error: object) -> tuple[str, tuple[str, ...]]:
    """Read what the SDK reports of an exception: a JSON string with type, message and traceback."""
    try:
        report = json.loads(error) if isinstance(error, str) else error
    except ValueError:
        report = None
    if not isinstance(report, dict):
        return "", tuple(str(error).splitlines()[-_LOG_LINES:]) if error else ()
    trace = str(report.get("error_traceback") or report.get("error_message") or "")
    kind = str(report.get("error_type") or "")
    return f"It ended with {kind}." if kind else "", tuple(trace.splitlines()[-_LOG_LINES:])
