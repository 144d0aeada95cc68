"""Every way a request can fail, as data: one closed list of codes, one sentence each.

FaultError is the only exception that carries a fault between rooms; a room's own errors derive from it:
    FaultError
    ├── gpu_tasks.storage.StorageError
    ├── gpu_tasks.media.errors.MediaError
    └── flows.errors.PipelineError
"""

from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict


class FaultCode(StrEnum):
    """Codes on the wire. The first eight are the original service's and keep their names."""

    RUNPOD_SUBMIT_FAILED = "runpod_submit_failed"
    RUNPOD_STATUS_FAILED = "runpod_status_failed"
    RUNPOD_JOB_FAILED = "runpod_job_failed"
    RUNPOD_JOB_TIMEOUT = "runpod_job_timeout"
    NO_FACE_DETECTED = "no_face_detected"
    AUDIO_MERGE_FAILED = "audio_merge_failed"
    MISSING_AUDIO_KEY = "missing_audio_key"
    FACEFUSION_NOT_CONFIGURED = "facefusion_not_configured"

    REQUEST_INVALID = "request_invalid"
    CONSENT_REQUIRED = "consent_required"
    KEY_NOT_ALLOWED = "key_not_allowed"
    OPTION_UNSUPPORTED = "option_unsupported"
    OBJECT_MISSING = "object_missing"
    OBJECT_EMPTY = "object_empty"
    OBJECT_TOO_LARGE = "object_too_large"
    OBJECT_CORRUPT = "object_corrupt"
    OBJECT_CHANGED = "object_changed"
    OUTPUT_EXISTS = "output_exists"
    MEDIA_UNREADABLE = "media_unreadable"
    MEDIA_UNSUPPORTED = "media_unsupported"
    MEDIA_TOO_LONG = "media_too_long"
    MEDIA_TOO_COSTLY = "media_too_costly"
    PICTURE_TOO_LARGE = "picture_too_large"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    NO_FACE_IN_SOURCE = "no_face_in_source"
    NO_FACE_IN_REFERENCE = "no_face_in_reference"
    SEVERAL_FACES_IN_REFERENCE = "several_faces_in_reference"
    CONTENT_REFUSED = "content_refused"

    RUNPOD_NOT_CONFIGURED = "runpod_not_configured"
    RUNPOD_KEY_REFUSED = "runpod_key_refused"
    RUNPOD_ENDPOINT_UNKNOWN = "runpod_endpoint_unknown"
    RUNPOD_THROTTLED = "runpod_throttled"
    RUNPOD_NO_WORKERS = "runpod_no_workers"
    RUNPOD_NO_CAPACITY = "runpod_no_capacity"
    RUNPOD_WORKERS_CRASH = "runpod_workers_crash"
    RUNPOD_JOB_EXPIRED = "runpod_job_expired"
    BUDGET_EXCEEDED = "budget_exceeded"
    PRICE_UNKNOWN = "price_unknown"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    MODEL_MISSING = "model_missing"
    MODEL_CORRUPT = "model_corrupt"
    MODEL_NOT_FETCHED = "model_not_fetched"
    LICENCE_NOT_ACKNOWLEDGED = "licence_not_acknowledged"
    REVISION_MISMATCH = "revision_mismatch"
    CONTRACT_MISMATCH = "contract_mismatch"
    RESULT_MISSING = "result_missing"
    SUPERSEDED = "superseded"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    STORAGE_REFUSED = "storage_refused"
    ORCHESTRATOR_UNAVAILABLE = "orchestrator_unavailable"
    ORCHESTRATOR_LOST = "orchestrator_lost"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    CANCELLED = "cancelled"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    TOO_MANY_LISTENERS = "too_many_listeners"
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight"
    TASK_UNKNOWN = "task_unknown"
    TASK_NOT_ENDED = "task_not_ended"
    UPLOAD_UNKNOWN = "upload_unknown"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    ROUTE_UNKNOWN = "route_unknown"
    WEBHOOK_REFUSED = "webhook_refused"
    WEBHOOK_FAILED = "webhook_failed"
    DELIVERY_UNKNOWN = "delivery_unknown"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    REQUEST_TOO_SLOW = "request_too_slow"
    INTERNAL = "internal"


class FaultMeaning(NamedTuple):
    """What a code says to a person, and whether the same job may succeed when it is tried again."""

    sentence: str
    retryable: bool


MEANINGS: dict[FaultCode, FaultMeaning] = {
    FaultCode.RUNPOD_SUBMIT_FAILED: FaultMeaning("RunPod did not accept the job.", retryable=True),
    FaultCode.RUNPOD_STATUS_FAILED: FaultMeaning("RunPod did not tell how the job stands.", retryable=True),
    FaultCode.RUNPOD_JOB_FAILED: FaultMeaning("The GPU worker did not finish the job.", retryable=True),
    FaultCode.RUNPOD_JOB_TIMEOUT: FaultMeaning(
        "The job took longer than allowed; shorten the clip or raise RUNPOD_JOB_TIMEOUT.", retryable=True
    ),
    FaultCode.NO_FACE_DETECTED: FaultMeaning(
        "No face was found in the target video; use footage in which a face is visible.", retryable=False
    ),
    FaultCode.AUDIO_MERGE_FAILED: FaultMeaning("The result would have had no sound.", retryable=True),
    FaultCode.FACEFUSION_NOT_CONFIGURED: FaultMeaning(
        "Face swap is not set up here; set RUNPOD_FACEFUSION_ENDPOINT.", retryable=False
    ),
    FaultCode.REQUEST_INVALID: FaultMeaning("The request does not have the documented form.", retryable=False),
    FaultCode.MISSING_AUDIO_KEY: FaultMeaning(
        "Give audio_key for lip-sync, source_keys for a face swap, or both.", retryable=False
    ),
    FaultCode.CONSENT_REQUIRED: FaultMeaning(
        "A declaration of consent is required here; give consent with basis, statement and declared_by.",
        retryable=False,
    ),
    FaultCode.KEY_NOT_ALLOWED: FaultMeaning("The object key is not one that clients may use.", retryable=False),
    FaultCode.OPTION_UNSUPPORTED: FaultMeaning("This option is not supported yet.", retryable=False),
    FaultCode.OBJECT_MISSING: FaultMeaning("There is no object under this key; upload it first.", retryable=False),
    FaultCode.OBJECT_EMPTY: FaultMeaning("The uploaded object has zero bytes; upload it again.", retryable=False),
    FaultCode.OBJECT_TOO_LARGE: FaultMeaning(
        "The object is larger than allowed; shorten it or compress it.", retryable=False
    ),
    FaultCode.OBJECT_CORRUPT: FaultMeaning("The stored object does not match its digest.", retryable=True),
    FaultCode.OBJECT_CHANGED: FaultMeaning(
        "The object was overwritten while the task began; send the request again.", retryable=False
    ),
    FaultCode.OUTPUT_EXISTS: FaultMeaning(
        "Another task already wrote this output key; choose a new one.", retryable=False
    ),
    FaultCode.MEDIA_UNREADABLE: FaultMeaning(
        "The file could not be read as media; check that it plays to its end and export it anew.", retryable=False
    ),
    FaultCode.MEDIA_UNSUPPORTED: FaultMeaning(
        "This kind of media is not supported; save it as MP4, WAV or JPEG with common settings.", retryable=False
    ),
    FaultCode.MEDIA_TOO_LONG: FaultMeaning("The clip is longer than allowed; shorten it.", retryable=False),
    FaultCode.MEDIA_TOO_COSTLY: FaultMeaning(
        "Reading the file takes more time or memory than allowed; save it anew with common settings.", retryable=False
    ),
    FaultCode.PICTURE_TOO_LARGE: FaultMeaning(
        "The picture has more pixels than allowed; scale it down.", retryable=False
    ),
    FaultCode.NO_VIDEO_STREAM: FaultMeaning(
        "The target has no video in it; choose a file with moving pictures.", retryable=False
    ),
    FaultCode.NO_AUDIO_STREAM: FaultMeaning(
        "The driving audio has no sound in it; choose a file with a voice.", retryable=False
    ),
    FaultCode.NO_FACE_IN_SOURCE: FaultMeaning(
        "No face was found in a source image; use a clear frontal picture.", retryable=False
    ),
    FaultCode.NO_FACE_IN_REFERENCE: FaultMeaning(
        "No face was found in a reference picture; use a clear frontal one of the person who is meant.",
        retryable=False,
    ),
    FaultCode.SEVERAL_FACES_IN_REFERENCE: FaultMeaning(
        "A reference picture shows several faces; cut it to the person who is meant.", retryable=False
    ),
    FaultCode.CONTENT_REFUSED: FaultMeaning(
        "The target shows content that may not be changed here; use other footage.", retryable=False
    ),
    FaultCode.RUNPOD_NOT_CONFIGURED: FaultMeaning(
        "RunPod is not set up here; set RUNPOD_API_KEY and RUNPOD_WAV2LIP_ENDPOINT.", retryable=False
    ),
    FaultCode.RUNPOD_KEY_REFUSED: FaultMeaning(
        "RunPod refuses the API key; set RUNPOD_API_KEY to one that may use the endpoint.", retryable=False
    ),
    FaultCode.RUNPOD_ENDPOINT_UNKNOWN: FaultMeaning(
        "RunPod does not know the endpoint; check its id in RUNPOD_WAV2LIP_ENDPOINT or RUNPOD_FACEFUSION_ENDPOINT.",
        retryable=False,
    ),
    FaultCode.RUNPOD_THROTTLED: FaultMeaning(
        "RunPod took no more requests for too long; lower the load with RUNPOD_WAV2LIP_MAX_JOBS or "
        "RUNPOD_FACEFUSION_MAX_JOBS, or ask RunPod for a higher limit.",
        retryable=True,
    ),
    FaultCode.RUNPOD_NO_WORKERS: FaultMeaning(
        "The endpoint has no worker at all; raise its max workers in the RunPod console.", retryable=False
    ),
    FaultCode.RUNPOD_NO_CAPACITY: FaultMeaning(
        "No GPU worker was free in time; allow more workers or GPU types in the RunPod console, or raise "
        "RUNPOD_QUEUE_TIMEOUT.",
        retryable=True,
    ),
    FaultCode.RUNPOD_WORKERS_CRASH: FaultMeaning(
        "The endpoint's workers end before they take a job; look at their logs in the RunPod console.", retryable=False
    ),
    FaultCode.RUNPOD_JOB_EXPIRED: FaultMeaning(
        "RunPod dropped the job because its time to live was over; allow more workers in the RunPod console, or raise "
        "RUNPOD_QUEUE_TIMEOUT and RUNPOD_JOB_TIMEOUT.",
        retryable=True,
    ),
    FaultCode.BUDGET_EXCEEDED: FaultMeaning(
        "The GPU budget does not allow it; wait for the next day or raise it, see docs/operate.md.", retryable=False
    ),
    FaultCode.PRICE_UNKNOWN: FaultMeaning(
        "No price is known for the endpoint's GPU; set RUNPOD_WAV2LIP_GPU and RUNPOD_FACEFUSION_GPU to types of the "
        "price table, see docs/operate.md.",
        retryable=False,
    ),
    FaultCode.ENGINE_UNAVAILABLE: FaultMeaning("The asked engine is not available here.", retryable=False),
    FaultCode.MODEL_MISSING: FaultMeaning(
        "A model's file is not there; fetch it with `lipswap models pull`.", retryable=False
    ),
    FaultCode.MODEL_CORRUPT: FaultMeaning("A model's file is not the one that is expected.", retryable=False),
    FaultCode.MODEL_NOT_FETCHED: FaultMeaning("A model's file could not be fetched.", retryable=True),
    FaultCode.LICENCE_NOT_ACKNOWLEDGED: FaultMeaning(
        "The model's licence must be acknowledged first; see `lipswap models licences`.", retryable=False
    ),
    FaultCode.REVISION_MISMATCH: FaultMeaning("Flow and worker hold different model revisions.", retryable=False),
    FaultCode.CONTRACT_MISMATCH: FaultMeaning("Flow and worker speak different contract versions.", retryable=False),
    FaultCode.RESULT_MISSING: FaultMeaning("The worker said it was done but left no result.", retryable=True),
    FaultCode.SUPERSEDED: FaultMeaning("A newer attempt of the same job took over.", retryable=False),
    FaultCode.OUT_OF_MEMORY: FaultMeaning("The worker ran out of memory.", retryable=True),
    FaultCode.DISK_FULL: FaultMeaning("The worker ran out of disk space.", retryable=True),
    FaultCode.STORAGE_UNAVAILABLE: FaultMeaning("The media store does not answer.", retryable=True),
    FaultCode.STORAGE_REFUSED: FaultMeaning(
        "The media store refuses us; check R2_BUCKET, R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY and what they permit.",
        retryable=False,
    ),
    FaultCode.ORCHESTRATOR_UNAVAILABLE: FaultMeaning("The orchestrator does not answer; try again.", retryable=True),
    FaultCode.ORCHESTRATOR_LOST: FaultMeaning(
        "Each orchestrator process that worked on this task has died; it is not tried again.", retryable=False
    ),
    FaultCode.DEADLINE_EXCEEDED: FaultMeaning("The deadline of the request has passed.", retryable=False),
    FaultCode.CANCELLED: FaultMeaning("The task was cancelled.", retryable=False),
    FaultCode.UNAUTHORIZED: FaultMeaning("The API key is missing or wrong.", retryable=False),
    FaultCode.FORBIDDEN: FaultMeaning("This API key may not do that.", retryable=False),
    FaultCode.RATE_LIMITED: FaultMeaning("Too many requests with this API key; slow down.", retryable=True),
    FaultCode.QUOTA_EXCEEDED: FaultMeaning(
        "As many tasks as this API key may have are running; wait until one has ended.", retryable=True
    ),
    FaultCode.TOO_MANY_LISTENERS: FaultMeaning(
        "As many listeners as this process or this API key may have are connected; ask /status, or come again.",
        retryable=True,
    ),
    FaultCode.IDEMPOTENCY_IN_FLIGHT: FaultMeaning(
        "A request with this Idempotency-Key is being answered; ask for its task's status.", retryable=True
    ),
    FaultCode.TASK_UNKNOWN: FaultMeaning("There is no task with this id.", retryable=False),
    FaultCode.TASK_NOT_ENDED: FaultMeaning("The task is still going on; cancel it first.", retryable=False),
    FaultCode.UPLOAD_UNKNOWN: FaultMeaning("There is no such upload, or its time is over.", retryable=False),
    FaultCode.UPLOAD_INCOMPLETE: FaultMeaning("Parts of the upload are missing or are others.", retryable=False),
    FaultCode.ROUTE_UNKNOWN: FaultMeaning("There is nothing at this address; see /docs.", retryable=False),
    FaultCode.WEBHOOK_REFUSED: FaultMeaning("This address may not be called as a webhook.", retryable=False),
    FaultCode.WEBHOOK_FAILED: FaultMeaning("The webhook was not taken.", retryable=True),
    FaultCode.DELIVERY_UNKNOWN: FaultMeaning("There is no delivery with this id.", retryable=False),
    FaultCode.PAYLOAD_TOO_LARGE: FaultMeaning("The request body is larger than allowed.", retryable=False),
    FaultCode.REQUEST_TOO_SLOW: FaultMeaning("The request body came too slowly; send it again.", retryable=True),
    FaultCode.INTERNAL: FaultMeaning("Something went wrong on our side; the log has the details.", retryable=True),
}


class Fault(BaseModel):
    """A failure as data: what stands in replies and records. `detail` is a sentence for a person."""

    # As everything in a reply; see `receipts`.
    model_config = ConfigDict(frozen=True, extra="ignore")

    code: FaultCode
    detail: str
    stage: str | None = None

    @property
    def is_retryable(self) -> bool:
        """Tell whether the same job may succeed when it is tried again."""
        return MEANINGS[self.code].retryable


class FaultError(Exception):
    """An error whose fault can be shown to the caller as it stands.

    Args:
        code: What happened.
        detail: One more sentence with the particulars (a key, a size, a limit); never a secret, URL or path.
        stage: The stage in which it happened, where known.
        field: The field of a request that is wrong, where it is one.
    """

    def __init__(
        self, code: FaultCode, detail: str = "", *, stage: str | None = None, field: str | None = None
    ) -> None:
        self.fault = Fault(code=code, detail=f"{MEANINGS[code].sentence} {detail}".rstrip(), stage=stage)
        # All arguments reach Exception so that the error survives pickling out of a process pool.
        super().__init__(code, detail)
        self._stage = stage
        self.field = field

    @classmethod
    def told(cls, fault: Fault) -> Self:
        """Return the error for a fault that another process has put into words."""
        error = cls(fault.code, stage=fault.stage)
        error.fault = fault
        return error

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the arguments, keyword included, in another process."""
        return (_rebuild, (type(self), self.args[0], self.args[1], self._stage, self.field))

    def __str__(self) -> str:
        return f"[{self.fault.code}] {self.fault.detail}"


def _rebuild(kind: type[FaultError], code: FaultCode, detail: str, stage: str | None, field: str | None) -> FaultError:
    return kind(code, detail, stage=stage, field=field)
