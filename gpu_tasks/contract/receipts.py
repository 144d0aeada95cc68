"""What flow and worker leave in the bucket about a job, and what a worker says while and after it works.

Claim, start marker and receipt are written with conditional puts: the first writer wins, and every execution leaves
a name. A result is a receipt that names an object which exists with that digest.
"""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpu_tasks.contract.artifacts import Artifact, Digest
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.jobs import Engine, Stage
from gpu_tasks.contract.media import FaceCoverage, VideoInfo


class _Model(BaseModel):
    # Not forbidden: in a rolling release the other side may already say more than this one knows.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Claim(_Model):
    """Who submits an attempt: written with the intent before submitting, then with the job id.

    `life_seconds` is the job's time to live on RunPod, `execution_seconds` the longest one execution can be billed,
    `usd_per_second` its price then, where one was known.
    """

    fingerprint: Digest
    stage: Stage
    attempt: int = Field(ge=1)
    task_id: str
    cause: str
    claimed_at: datetime
    endpoint_id: str
    job_id: str | None = None
    life_seconds: float | None = None
    execution_seconds: float | None = None
    usd_per_second: float | None = None


class AttemptEnd(_Model):
    """How an attempt ended, by whoever saw it first: also those that left no receipt have cost something.

    `status` is RunPod's word, or ours where RunPod has none: NOT_QUEUED, UNCLEAR, EXPIRED, LOST. The seconds are
    RunPod's own, null where it told none. `is_stopped` is what RunPod said after we had cancelled the job.
    """

    fingerprint: Digest
    stage: Stage
    attempt: int = Field(ge=1)
    status: str
    fault: FaultCode | None = None
    job_id: str | None = None
    worker_id: str | None = None
    delay_seconds: float | None = Field(default=None, ge=0)
    execution_seconds: float | None = Field(default=None, ge=0)
    is_stopped: bool | None = None
    ended_at: datetime


class StartMarker(_Model):
    """One execution of an attempt on a worker, written before models load."""

    fingerprint: Digest
    stage: Stage
    attempt: int = Field(ge=1)
    execution: int = Field(ge=1)
    job_id: str
    worker_id: str
    started_at: datetime


class Receipt(_Model):
    """The result of a job. `work_seconds` is the wall time of the work on the worker, which is what is billed."""

    fingerprint: Digest
    stage: Stage
    attempt: int = Field(ge=1)
    execution: int = Field(ge=1)
    artifact: Artifact
    video: VideoInfo
    has_audio: bool
    faces: FaceCoverage
    engine: Engine
    model_revisions: dict[str, str]
    encoder: str
    work_seconds: float = Field(ge=0)
    job_id: str
    worker_id: str
    finished_at: datetime
    notes: tuple[str, ...] = ()


class Progress(_Model):
    """What a worker reports while it works. RunPod delivers reports unordered: `sequence` orders them."""

    sequence: int = Field(ge=0)
    done: int = Field(ge=0)
    total: int = Field(gt=0)
    message: str = ""


class JobReply(_Model):
    """What a handler returns: a receipt or a fault, never a key that the RunPod SDK takes for its own."""

    receipt: Receipt | None = None
    fault: Fault | None = None
    log_tail: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.receipt is None) == (self.fault is None):
            raise ValueError("a reply holds either a receipt or a fault")
        return self
