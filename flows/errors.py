"""What can go wrong in a run, besides what storage and media report.

FaultError
├── blocks.runpod_client.RunPodError     RunPod refused a request or did not answer it
│   └── blocks.runpod_client.SubmitUnclearError   a job may or may not have been queued
├── blocks.job_store.JobStoreError       Redis is away; never ends a run
└── PipelineError                        a run cannot go on
    └── JobError                           a GPU job ended without a result
"""

from typing import Self

from gpu_tasks.contract.faults import Fault, FaultError


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
