"""What a record tells of the GPU jobs that its run has not seen the end of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from blocks.runpod_client import JobStatus
from gpu_tasks.contract.jobs import Stage

_UNENDED = frozenset(status.value for status in JobStatus if not status.is_final)


class JobAtWork(NamedTuple):
    """One job: RunPod's id, and, where the record tells them, endpoint, attempt and fingerprint of its claim."""

    job_id: str
    endpoint: str | None
    attempt: int | None
    fingerprint: str | None


def jobs_at_work(details: Mapping[str, Any], stage: Stage) -> list[JobAtWork]:
    """Return the jobs of a stage that a record's details name as this run's own and not ended, one per segment."""
    segments = details.get("segments", {}).get(stage.value, {}).get("jobs")
    names = ("job_id", "status", "reused", *JobAtWork._fields[1:])
    whole = {name: details.get(f"{stage}_{name}") for name in names}
    return [
        JobAtWork(job["job_id"], *(job.get(name) for name in JobAtWork._fields[1:]))
        for job in ([whole] if segments is None else segments.values())
        # A job that another run has submitted is that run's to stop.
        if job["job_id"] is not None and job["status"] in _UNENDED and not job["reused"]
    ]
