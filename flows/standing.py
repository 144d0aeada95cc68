"""How the GPU jobs of a run stand, summed over its segments: what the record says of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from blocks.runpod_client import JobStatus
from flows.following import JobNews
from flows.remote import JobDone
from gpu_tasks.contract.jobs import Segment, Stage
from gpu_tasks.contract.media import FaceCoverage

# What of a receipt the record tells.
_PROVENANCE = {"artifact", "engine", "model_revisions", "faces", "worker_id", "notes"}


@dataclass
class _Job:
    """One segment at one stage; `news` until it is done."""

    frame_count: int
    news: JobNews | None = None
    fraction: float = 0.0
    done: JobDone | None = None


@dataclass
class Standing:
    """The jobs of a run by stage and segment. None stands for the whole footage, which is then the only one."""

    task_id: str
    stages: tuple[Stage, ...]
    segments: tuple[Segment, ...] = ()
    _jobs: dict[Stage, dict[Segment | None, _Job]] = field(init=False)

    def __post_init__(self) -> None:
        sizes: dict[Segment | None, int] = {segment: segment.frame_count for segment in self.segments} or {None: 1}
        self._jobs = {stage: {part: _Job(size) for part, size in sizes.items()} for stage in self.stages}

    def hear(self, stage: Stage, segment: Segment | None, news: JobNews) -> None:
        """Take news of a job."""
        job = self._jobs[stage][segment]
        job.news = news
        if news.progress is not None:
            # A job that is tried again begins anew.
            job.fraction = news.progress.done / news.progress.total

    def settle(self, stage: Stage, segment: Segment | None, done: JobDone) -> None:
        """Take the result of a job."""
        job = self._jobs[stage][segment]
        job.done, job.news, job.fraction = done, None, 1.0

    def is_over(self, stage: Stage) -> bool:
        return all(job.done is not None for job in self._jobs[stage].values())

    @property
    def focus(self) -> Stage:
        """The first stage that has jobs left, else the last: where the run as a whole is."""
        return next((stage for stage in self.stages if not self.is_over(stage)), self.stages[-1])

    def fraction(self, stage: Stage) -> float:
        """Return how much of a stage is done, 0..1, each segment by its frames."""
        jobs = self._jobs[stage].values()
        return sum(job.fraction * job.frame_count for job in jobs) / sum(job.frame_count for job in jobs)

    def message(self, stage: Stage) -> str:
        """Return how far a stage is, in words."""
        return f"{len(self._done(stage))} of {len(self.segments)} segments"

    def details(self, stage: Stage) -> dict[str, Any]:
        """Return what the record's `details` say of a stage."""
        done, told = self._done(stage), [job.news for job in self._jobs[stage].values() if job.news is not None]
        details: dict[str, Any] = {}
        if self.is_over(stage):
            details |= {
                f"{stage}_job_id": done[-1].receipt.job_id,
                f"{stage}_status": JobStatus.COMPLETED.value,
                f"{stage}_attempts": sum(each.attempts for each in done),
                f"{stage}_reused": all(each.paid_by != self.task_id for each in done),
            }
        elif told:
            # One that works says more of the stage than one that waits.
            news = max(told, key=lambda each: each.status is JobStatus.IN_PROGRESS)
            details |= {f"{stage}_{name}": value for name, value in _told(news).items()}
        return details | ({"segments": self._told_of_segments()} if self.segments else {})

    def provenance(self, stage: Stage) -> dict[str, Any]:
        """Return what the record's `provenance` says of a stage that is over."""
        receipts = [done.receipt for done in self._done(stage)]
        told = receipts[0].model_dump(mode="json", include=_PROVENANCE)
        if not self.segments:
            return told
        faces = _summed([receipt.faces for receipt in receipts]).model_dump(mode="json")
        notes = list(dict.fromkeys(note for receipt in receipts for note in receipt.notes))
        artifacts = [receipt.artifact.model_dump(mode="json") for receipt in receipts]
        common = {name: told[name] for name in ("engine", "model_revisions")}
        return common | {"faces": faces, "notes": notes, "segments": artifacts}

    def _told_of_segments(self) -> dict[str, Any]:
        """Count the jobs, and name those at work: who cancels the run from outside has to find them."""
        told: dict[str, Any] = {"count": len(self.segments)}
        for stage, jobs in self._jobs.items():
            at_work = {place: job.news for place, job in enumerate(jobs.values()) if job.news is not None}
            status = Counter(news.status.value for news in at_work.values())
            if completed := len(self._done(stage)):
                status[JobStatus.COMPLETED.value] += completed
            told[stage.value] = {
                "by_status": dict(status),
                "attempts": sum(done.attempts for done in self._done(stage)),
                "jobs": {str(place): _told(news) for place, news in at_work.items()},
            }
        return told

    def _done(self, stage: Stage) -> list[JobDone]:
        return [job.done for job in self._jobs[stage].values() if job.done is not None]


def _told(news: JobNews) -> dict[str, Any]:
    """Return what the record tells of a job that has not ended; `flows.at_work` reads it."""
    stopped = {} if news.is_stopped is None else {"stopped": news.is_stopped}
    return {
        "job_id": news.job_id,
        "status": news.status.value,
        "reused": not news.is_ours,
        "endpoint": news.claim.endpoint_id,
        "attempt": news.claim.attempt,
        "fingerprint": news.claim.fingerprint,
        **stopped,
    }


def _summed(coverages: Sequence[FaceCoverage]) -> FaceCoverage:
    return FaceCoverage(
        frames_looked_at=sum(each.frames_looked_at for each in coverages),
        frames_with_face=sum(each.frames_with_face for each in coverages),
    )
