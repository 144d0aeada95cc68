"""A GPU worker without a GPU: `worker.py STAGE SECONDS CONCURRENCY`, under the real SDK and the real runtime.

It claims, marks, fetches and settles as the real workers do. Instead of computing it sleeps, then encodes small frames
whose colours follow from the job's fingerprint: equal jobs give equal pixels, different jobs different ones.
"""

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import runpod
from numpy.typing import NDArray

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import FaceFusionJob, Stage, Wav2LipJob, fingerprint
from gpu_tasks.contract.media import FaceCoverage
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.pipeline import Bench, Product
from gpu_tasks.runtime.scratch import open_scratch
from gpu_tasks.settings import WorkerSettings
from gpu_tasks.storage import connect

_SIDE_PX = 32
_LOOK_SECONDS = 0.1


class Simulated:
    """One stage whose work is to wait."""

    def __init__(self, stage: Stage, seconds: float) -> None:
        self.stage = stage
        self._seconds = seconds

    def check(self, job: Wav2LipJob | FaceFusionJob) -> None:
        """Refuse nothing."""

    def inputs(self, job: Wav2LipJob | FaceFusionJob) -> tuple[Artifact, ...]:
        """Fetch the target, as every stage does."""
        return (job.target,)

    def run(self, job: Wav2LipJob | FaceFusionJob, bench: Bench) -> Product:
        """Sleep for as long as a GPU would work, then write the frames."""
        ends = time.monotonic() + self._seconds
        while (left := ends - time.monotonic()) > 0:
            bench.checkpoint()
            time.sleep(min(_LOOK_SECONDS, left))
        path = bench.folder / "simulated.mp4"
        count = job.frames.stop_frame - job.frames.start_frame
        writer = VideoWriter(path, width=_SIDE_PX, height=_SIDE_PX, fps=job.timeline.fps, quality=job.quality)
        with writer:
            for pixels in frames_of(fingerprint(job), count):
                writer.write(pixels)
        return Product(path, FaceCoverage(frames_looked_at=count, frames_with_face=count), writer.encoder)


def frames_of(digest: str, count: int) -> list[NDArray[np.uint8]]:
    """Return the frames of a job, HWC uint8 BGR: a square of the digest's colours that moves to the right."""
    colours = np.frombuffer(bytes.fromhex(digest), np.uint8)[:12].reshape(2, 2, 3)
    square = np.kron(colours, np.ones((_SIDE_PX // 2, _SIDE_PX // 2, 1), np.uint8))
    return [np.ascontiguousarray(np.roll(square, number, axis=1)) for number in range(count)]


def main(stage: Stage, seconds: float, concurrency: int) -> None:
    """Serve until the platform stops this process."""
    settings = WorkerSettings()
    is_ready = False
    with open_scratch(settings.scratch_root) as scratch:
        workshop: Workshop[Any] = Workshop(Simulated(stage, seconds), connect(settings.r2), scratch, threads=1)
        handler: Handler[Any] = Handler(
            workshop, worker_id=settings.worker_id, send_progress=runpod.serverless.progress_update
        )

        async def handle(wire: dict[str, Any]) -> dict[str, Any]:
            nonlocal is_ready
            if not is_ready:
                is_ready = True
                # As many at once as asked for: they only sleep.
                asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(concurrency))
            return await handler.handle(wire)

        runpod.serverless.start({"handler": handle, "concurrency_modifier": lambda _: concurrency})


if __name__ == "__main__":
    main(Stage(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
