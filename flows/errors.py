"""What can go wrong in a run, besides what storage and media report.

FaultError
├── blocks.runpod.RunPodError            RunPod refused a request or did not answer it
│   └── blocks.runpod.SubmitUnclearError   a job may or may not have been queued
├── blocks.job_store.JobStoreError       Redis is away; never ends a run
└── PipelineError                        a run cannot go on
    └── JobError                           a GPU job ended without a result
"""

from typing import Self

from gpu_tasks.contract.faults import MEANINGS, Fault, FaultCode, FaultError

# Outages that pass: the task is tried again. Everything else is either final or has had its attempts.
_PASSING = frozenset({FaultCode.STORAGE_UNAVAILABLE, FaultCode.RUNPOD_SUBMIT_FAILED, FaultCode.RUNPOD_STATUS_FAILED})


class PipelineError(FaultError):
    """A run cannot go on."""


class JobError(PipelineError):
    """A GPU job ended without a result. `log_tail` holds the last lines of the worker's log, where it sent some."""

    log_tail: tuple[str, ...] = ()

    @classmethod
    def of(cls, fault: Fault, *, stage: str, log_tail: tuple[str, ...] = ()) -> Self:
        """Raise-able form of a fault that somebody else has put into words."""
        error = cls(fault.code, stage=stage)
        error.fault = fault.model_copy(update={"stage": stage})
        error.log_tail = log_tail
        return error


def is_passing(error: BaseException) -> bool:
    """Tell whether a task may succeed when it is tried again in a moment."""
    return isinstance(error, FaultError) and error.fault.code in _PASSING


def is_worth_another_attempt(code: FaultCode) -> bool:
    """Tell whether the same job may succeed on another worker."""
    return MEANINGS[code].retryable
