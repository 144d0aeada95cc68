"""What the runtime gives a pipeline and what it gets back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import FaceFusionJob, Stage, StageJob, Wav2LipJob
from gpu_tasks.contract.media import FaceCoverage

JobT = TypeVar("JobT", Wav2LipJob, FaceFusionJob)
JobT_contra = TypeVar("JobT_contra", bound=StageJob, contravariant=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where one job is worked on.

    Attributes:
        folder: The job's own scratch folder.
        threads: How many threads the work may use.
        checkpoint: To be called at every frame; raises JobCancelledError when the job shall stop.
        report: To be called with frames done, frames in all, and what is being done.
    """

    folder: Path
    inputs: Mapping[str, Path]
    threads: int
    checkpoint: Callable[[], None]
    report: Callable[[int, int, str], None]

    def path_of(self, artifact: Artifact) -> Path:
        """Return the local file of one of the job's inputs."""
        return self.inputs[artifact.key]


@dataclass(frozen=True, slots=True)
class Product:
    """A finished MP4 in the job's folder, and what is true about it."""

    path: Path
    faces: FaceCoverage
    encoder: str
    notes: tuple[str, ...] = ()


class Pipeline(Protocol[JobT_contra]):
    """One stage's work on a GPU worker. All methods raise FaultErrors."""

    @property
    def stage(self) -> Stage: ...

    def check(self, job: JobT_contra) -> None:
        """Refuse what is not built, naming the field, before anything is fetched or loaded."""
        ...

    def inputs(self, job: JobT_contra) -> tuple[Artifact, ...]:
        """Return every object that `run` will read."""
        ...

    def run(self, job: JobT_contra, bench: Bench) -> Product:
        """Compute; called in a thread, after the start marker was written."""
        ...
