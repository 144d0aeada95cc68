"""A worker with the neural engine over a real bucket, and jobs for it."""

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import Fault
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.contract.receipts import JobReply, Progress, Receipt
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.scratch import Scratch
from gpu_tasks.storage import ArtifactStore
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.wav2lip.clips import Clip
from tests.wav2lip.sounds import RATE, write_wav
from tests.workers.jobs import as_input

CUSTOM = Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none")
STAND_IN = Wav2LipOptions(lip_syncer_model="wav2lip_96", enhancer="none")


@dataclass
class Worker:
    """A handler, its scratch folder, and what it reported."""

    store: ArtifactStore
    scratch: Path
    pipeline: LipSync
    reports: list[Progress] = field(default_factory=list)
    on_report: Callable[[Progress], None] = lambda _report: None

    async def handle(self, job: Wav2LipJob) -> JobReply:
        workshop = Workshop(pipeline=self.pipeline, store=self.store, scratch=Scratch(self.scratch), threads=2)
        handler = Handler(workshop, worker_id="here", send_progress=self._keep)
        wire = await handler.handle({"id": f"job-{time.monotonic_ns()}", "input": as_input(job)})
        wire.pop("refresh_worker", None)
        assert list(self.scratch.iterdir()) == []
        return JobReply.model_validate(wire)

    async def receipt(self, job: Wav2LipJob) -> Receipt:
        reply = await self.handle(job)
        assert reply.receipt is not None, reply.fault
        return reply.receipt

    async def fault(self, job: Wav2LipJob) -> Fault:
        reply = await self.handle(job)
        assert reply.fault is not None
        assert reply.fault.stage == "wav2lip"
        assert "Traceback" not in str(reply)
        assert str(self.scratch) not in str(reply)
        return reply.fault

    def _keep(self, _wire: dict[str, Any], report: dict[str, Any]) -> None:
        self.reports.append(Progress.model_validate(report))
        self.on_report(self.reports[-1])


@dataclass(frozen=True)
class Jobs:
    """Jobs over a clip in the bucket, each of a length that no other has."""

    store: ArtifactStore
    clip: Clip
    target: Artifact
    tracks: Artifact
    voice: Artifact
    lengths: Iterator[int]

    def make(self, options: Wav2LipOptions, *, at_least: int = 0, **changes: Any) -> Wav2LipJob:  # noqa: ANN401 - fields of the job
        fields = {"target": self.target, "tracks": self.tracks, "driving_audio": self.voice, **changes}
        return self.clip.job(at_least + next(self.lengths), options=options, **fields)

    def sound(self, name: str, content: bytes | Floats, folder: Path) -> Artifact:
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_wav(path, content)
        return self.store.put_file(path, f"uploads/audio/neural-{name}", "audio/wav")


def worker_with(worker: Worker, weights: WeightStore) -> Worker:
    return Worker(worker.store, worker.scratch, LipSync(weights))


def folder_with(tmp_path: Path, name: str, content: bytes, *, acknowledged: bool = True) -> WeightStore:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / name).write_bytes(content)
    licences = frozenset(manifest().licences) if acknowledged else frozenset[str]()
    return WeightStore(folder, manifest(), acknowledged=licences)


def float_wav(samples: Floats) -> bytes:
    """A WAV of 32-bit floats, which unlike whole numbers can be no numbers."""
    content = samples.astype("<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(content),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        RATE,
        4 * RATE,
        4,
        32,
        b"data",
        len(content),
    )
    return header + content


def content_of(path: Path) -> bytes:
    return path.read_bytes()
