"""What may be tried again after which fault: one row for every code."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from flows.errors import JobError
from gpu_tasks.contract.faults import FaultCode, FaultError


class Retry(StrEnum):
    """What helps.

    NEVER: nothing does before a person has changed the request, a setting or a file.
    ATTEMPT: another worker, which costs another execution: as often as the policy's `max_attempts` says.
    ELSEWHERE: another endpoint; this one will not do it.
    WAIT: an outage that passes and costs nothing meanwhile: as long as the endpoint's queue timeout says.
    """

    NEVER = "never"
    ATTEMPT = "attempt"
    ELSEWHERE = "elsewhere"
    WAIT = "wait"


# Told at the door or of a delivery: no GPU job and no task ends with them, whatever their caller may repeat.
AT_THE_DOOR = frozenset(
    {
        FaultCode.UNAUTHORIZED,
        FaultCode.FORBIDDEN,
        FaultCode.TASK_UNKNOWN,
        FaultCode.TASK_NOT_ENDED,
        FaultCode.ROUTE_UNKNOWN,
        FaultCode.PAYLOAD_TOO_LARGE,
        FaultCode.REQUEST_TOO_SLOW,
        FaultCode.RATE_LIMITED,
        FaultCode.QUOTA_EXCEEDED,
        FaultCode.TOO_MANY_LISTENERS,
        FaultCode.IDEMPOTENCY_IN_FLIGHT,
        FaultCode.UPLOAD_UNKNOWN,
        FaultCode.UPLOAD_INCOMPLETE,
        FaultCode.WEBHOOK_REFUSED,
        FaultCode.WEBHOOK_FAILED,
        FaultCode.DELIVERY_UNKNOWN,
    }
)

RETRIES: Mapping[FaultCode, Retry] = MappingProxyType(
    {
        FaultCode.RUNPOD_SUBMIT_FAILED: Retry.WAIT,
        FaultCode.RUNPOD_STATUS_FAILED: Retry.WAIT,
        FaultCode.RUNPOD_THROTTLED: Retry.WAIT,
        FaultCode.STORAGE_UNAVAILABLE: Retry.WAIT,
        FaultCode.ORCHESTRATOR_UNAVAILABLE: Retry.WAIT,
        FaultCode.RUNPOD_ENDPOINT_UNKNOWN: Retry.ELSEWHERE,
        FaultCode.RUNPOD_NO_WORKERS: Retry.ELSEWHERE,
        FaultCode.RUNPOD_NO_CAPACITY: Retry.ELSEWHERE,
        FaultCode.RUNPOD_WORKERS_CRASH: Retry.ELSEWHERE,
        FaultCode.RUNPOD_JOB_FAILED: Retry.ATTEMPT,
        FaultCode.RUNPOD_JOB_TIMEOUT: Retry.ATTEMPT,
        FaultCode.RUNPOD_JOB_EXPIRED: Retry.ATTEMPT,
        FaultCode.RESULT_MISSING: Retry.ATTEMPT,
        FaultCode.OBJECT_CORRUPT: Retry.ATTEMPT,
        FaultCode.OUT_OF_MEMORY: Retry.ATTEMPT,
        FaultCode.DISK_FULL: Retry.ATTEMPT,
        FaultCode.MODEL_NOT_FETCHED: Retry.ATTEMPT,
        FaultCode.AUDIO_MERGE_FAILED: Retry.ATTEMPT,
        FaultCode.SUPERSEDED: Retry.ATTEMPT,
        # Old and new workers serve side by side while an endpoint is released; nothing was computed yet.
        FaultCode.REVISION_MISMATCH: Retry.ATTEMPT,
        FaultCode.CONTRACT_MISMATCH: Retry.ATTEMPT,
        FaultCode.INTERNAL: Retry.ATTEMPT,
        **dict.fromkeys(
            (
                FaultCode.NO_FACE_DETECTED,
                FaultCode.MISSING_AUDIO_KEY,
                FaultCode.FACEFUSION_NOT_CONFIGURED,
                FaultCode.REQUEST_INVALID,
                FaultCode.CONSENT_REQUIRED,
                FaultCode.KEY_NOT_ALLOWED,
                FaultCode.OPTION_UNSUPPORTED,
                FaultCode.OBJECT_MISSING,
                FaultCode.OBJECT_EMPTY,
                FaultCode.OBJECT_TOO_LARGE,
                FaultCode.OBJECT_CHANGED,
                FaultCode.OUTPUT_EXISTS,
                FaultCode.MEDIA_UNREADABLE,
                FaultCode.MEDIA_UNSUPPORTED,
                FaultCode.MEDIA_TOO_LONG,
                FaultCode.MEDIA_TOO_COSTLY,
                FaultCode.PICTURE_TOO_LARGE,
                FaultCode.NO_VIDEO_STREAM,
                FaultCode.NO_AUDIO_STREAM,
                FaultCode.NO_FACE_IN_SOURCE,
                FaultCode.NO_FACE_IN_REFERENCE,
                FaultCode.SEVERAL_FACES_IN_REFERENCE,
                FaultCode.ORCHESTRATOR_LOST,
                FaultCode.CONTENT_REFUSED,
                FaultCode.RUNPOD_NOT_CONFIGURED,
                FaultCode.RUNPOD_KEY_REFUSED,
                FaultCode.BUDGET_EXCEEDED,
                FaultCode.PRICE_UNKNOWN,
                FaultCode.ENGINE_UNAVAILABLE,
                FaultCode.MODEL_MISSING,
                FaultCode.MODEL_CORRUPT,
                FaultCode.LICENCE_NOT_ACKNOWLEDGED,
                FaultCode.STORAGE_REFUSED,
                FaultCode.DEADLINE_EXCEEDED,
                FaultCode.CANCELLED,
            ),
            Retry.NEVER,
        ),
        **dict.fromkeys(AT_THE_DOOR, Retry.NEVER),
    }
)


# What a worker of another release answers: the job goes to another endpoint, where there is one.
_OF_ANOTHER_RELEASE = frozenset({FaultCode.REVISION_MISMATCH, FaultCode.CONTRACT_MISMATCH})


def is_passing(error: BaseException) -> bool:
    """Tell whether a task may succeed when it is tried again in a moment; a GPU job has had its patience already."""
    if not isinstance(error, FaultError) or isinstance(error, JobError):
        return False
    return RETRIES[error.fault.code] is Retry.WAIT


def is_of_the_endpoint(code: FaultCode) -> bool:
    """Tell whether the endpoint's workers cannot do the job at all, while another endpoint's may."""
    return RETRIES[code] is Retry.ELSEWHERE or code in _OF_ANOTHER_RELEASE


def is_worth_another_attempt(code: FaultCode) -> bool:
    """Tell whether the same job may succeed on another worker."""
    return RETRIES[code] in {Retry.ATTEMPT, Retry.WAIT}
