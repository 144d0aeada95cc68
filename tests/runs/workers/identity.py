"""A GPU worker with the real runtime around an engine that changes nothing: every frame comes out as it went in.

`identity.py STAGE SCRIPT`: the script is a JSON file that a test writes, read anew for every job and frame; see Script.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, cast

import numpy as np
from pydantic import BaseModel

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, Quality, Stage, Wav2LipJob
from gpu_tasks.contract.manifest import EngineStage, manifest
from gpu_tasks.contract.media import FaceCoverage
from gpu_tasks.media.writer import X264, VideoWriter
from gpu_tasks.runtime.frames import played_frames
from gpu_tasks.runtime.pipeline import Bench, JobT, Product
from gpu_tasks.runtime.serving import serve

_PAUSE_SECONDS = 0.05


class Script(BaseModel):
    """What happens beside copying. Jobs are named `stage:first frame` and, where it matters, `:attempt`.

    Attributes:
        seconds_per_frame: How long a frame takes, whatever else the machine does.
        fail: Jobs that end with a fault that another attempt may not have.
        refuse: Jobs that end with a fault for good.
        hold: Jobs that wait until they are not named any more.
        spoil: Jobs whose frames come out black.
        release: The code revision of every stage of the draft engine, where it is not that of this version.
    """

    seconds_per_frame: float = 0.0
    fail: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    hold: tuple[str, ...] = ()
    spoil: tuple[str, ...] = ()
    release: str | None = None


class Lossless(VideoWriter):
    """What is decoded is what was written (but for the conversion), however the video was cut."""

    def _choose(self, encoder: str, preset: str, quality: Quality) -> Any:  # noqa: ANN401  # a private type
        chosen = super()._choose(encoder, preset, quality)
        options = {name: value for name, value in chosen.options.items() if name != "crf"}
        return chosen._replace(options={**options, "qp": "0", "preset": "ultrafast"})


class Identity(Generic[JobT]):
    """Copies frames."""

    def __init__(self, stage: Stage, script: Path) -> None:
        self.stage = stage
        self._path = script

    def check(self, job: JobT) -> None:
        """Everything is built."""

    def inputs(self, job: JobT) -> tuple[Artifact, ...]:
        return (job.target,)

    def run(self, job: JobT, bench: Bench) -> Product:
        """Copy the job's frames in the script's time."""
        began, count = time.monotonic(), job.frames.frame_count
        name = f"{job.stage}:{job.frames.start_frame}"
        script = self.script()
        if f"{name}:{job.attempt}" in script.fail:
            raise FaultError(FaultCode.OUT_OF_MEMORY, "As the script says.")
        if name in script.refuse:
            raise FaultError(FaultCode.CONTENT_REFUSED, "As the script says.")
        while name in self.script().hold:
            bench.checkpoint()
            time.sleep(_PAUSE_SECONDS)
        path, writer = bench.folder / "copy.mp4", None
        for done, (_, pixels) in enumerate(played_frames(job, bench), start=1):
            height, width = pixels.shape[:2]
            writer = writer or Lossless(path, width=width, height=height, fps=job.timeline.fps).__enter__()
            writer.write(np.zeros_like(pixels) if name in script.spoil else pixels)
            bench.report(done, count, "copying")
            time.sleep(max(0.0, began + done * script.seconds_per_frame - time.monotonic()))
        cast("VideoWriter", writer).__exit__(None, None, None)
        return Product(path=path, faces=FaceCoverage(frames_looked_at=count, frames_with_face=count), encoder=X264)

    def script(self) -> Script:
        return Script.model_validate_json(self._path.read_text(encoding="utf-8"))


class Released(dict[Stage, EngineStage]):
    """The stages of an engine, of the release that the script names."""

    def __init__(self, stages: Mapping[Stage, EngineStage], identity: Identity[Any]) -> None:
        super().__init__(stages)
        self._identity = identity

    def get(self, stage: Stage, default: Any = None) -> Any:  # noqa: ANN401  # as the base class
        entry = super().get(stage, default)
        release = self._identity.script().release
        return entry if release is None else entry.model_copy(update={"code_revision": release})


if __name__ == "__main__":
    # It treats jobs of both kinds alike; the types want one.
    identity: Identity[Wav2LipJob] = Identity(Stage(sys.argv[1]), Path(sys.argv[2]))
    engines = manifest().engines
    engines[Engine.DRAFT] = Released(engines[Engine.DRAFT], identity)
    serve(identity)
