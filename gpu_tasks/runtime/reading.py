"""From what RunPod hands over to a checked job."""

from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import CONTRACT_VERSION, Job, StageJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.runtime.faulting import invalid_job
from gpu_tasks.runtime.pipeline import JobT, Pipeline


class _Input(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Job


_input = TypeAdapter(_Input)


def read_job(wire: dict[str, Any], pipeline: Pipeline[JobT]) -> JobT:
    """Return the job in a RunPod job's input, of this worker's contract, stage and models.

    Raises:
        FaultError: CONTRACT_MISMATCH, REQUEST_INVALID, ENGINE_UNAVAILABLE, REVISION_MISMATCH, or what the pipeline
            refuses.
    """
    _check_version(wire)
    try:
        # As JSON, not as Python objects: strict models then take the strings of enums for what they are.
        job = _input.validate_json(to_json(wire)).job
    except ValidationError as error:
        raise invalid_job(error) from error
    if job.stage is not pipeline.stage:
        raise FaultError(FaultCode.REQUEST_INVALID, f"This worker does {pipeline.stage}, not {job.stage}.")
    _check_revisions(job)
    mine: JobT = job  # type: ignore[assignment]  # the stage tells the kind
    pipeline.check(mine)
    return mine


def _check_version(wire: dict[str, Any]) -> None:
    """Before anything else: a job of another version may have other fields."""
    job = wire.get("job")
    version = job.get("contract_version", CONTRACT_VERSION) if isinstance(job, dict) else CONTRACT_VERSION
    if version != CONTRACT_VERSION:
        raise FaultError(FaultCode.CONTRACT_MISMATCH, f"This worker speaks version {CONTRACT_VERSION}.")


def _check_revisions(job: StageJob) -> None:
    ours = manifest().revisions(job.engine, job.stage)  # type: ignore[attr-defined]  # every kind of job has a stage
    if job.model_revisions != ours:
        different = sorted(name for name, _ in ours.items() ^ job.model_revisions.items())
        raise FaultError(FaultCode.REVISION_MISMATCH, f"They differ in {', '.join(dict.fromkeys(different))}.")
