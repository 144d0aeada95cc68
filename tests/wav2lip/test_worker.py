"""The worker with the neural engine: a handler over a real bucket, stand-in models, and all that can go wrong."""

import asyncio
import resource
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.contract.receipts import JobReply, Progress, Receipt
from gpu_tasks.faces.arrays import Floats
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.probe import probe
from gpu_tasks.media.writer import X264
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.scratch import Scratch
from gpu_tasks.storage import ArtifactStore
from gpu_tasks.wav2lip.pipeline import LipSync
from gpu_tasks.weights import WeightStore
from tests.wav2lip.clips import TARGET, TRACKS, Clip
from tests.wav2lip.sounds import RATE, babble, silence, write_wav
from tests.wav2lip.standins import SEED, write_checkpoint
from tests.wav2lip.test_pass import Counting
from tests.workers.jobs import as_input, markers_of

CUSTOM = Wav2LipOptions(lip_syncer_model="wav2lip_custom", enhancer="none")
STAND_IN = Wav2LipOptions(lip_syncer_model="wav2lip_96", enhancer="none")
OUTPUT_BYTES = 4096


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


@pytest.fixture(scope="module")
def jobs(store: ArtifactStore, clip: Clip, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    voice = tmp_path_factory.mktemp("voice") / "voice.wav"
    write_wav(voice, babble(4.0))
    return Jobs(
        store,
        clip,
        target=store.put_file(clip.bench.path_of(TARGET), "uploads/video/neural.mp4", "video/mp4"),
        tracks=store.put_file(clip.bench.path_of(TRACKS), "work/ingest/neural-tracks", "application/x-tracks"),
        voice=store.put_file(voice, "uploads/audio/neural.wav", "audio/wav"),
        lengths=iter(range(4, 400)),
    )


@pytest.fixture(scope="module")
def pipeline(weights: WeightStore) -> LipSync:
    return LipSync(weights)


@pytest.fixture
def worker(store: ArtifactStore, tmp_path: Path, pipeline: LipSync) -> Worker:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Worker(store, scratch, pipeline)


def worker_with(worker: Worker, weights: WeightStore) -> Worker:
    return Worker(worker.store, worker.scratch, LipSync(weights))


def folder_with(tmp_path: Path, name: str, content: bytes, *, acknowledged: bool = True) -> WeightStore:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / name).write_bytes(content)
    licences = frozenset(manifest().licences) if acknowledged else frozenset[str]()
    return WeightStore(folder, manifest(), acknowledged=licences)


async def test_a_checkpoint_makes_a_speaking_video_with_its_sound(worker: Worker, jobs: Jobs, tmp_path: Path) -> None:
    job = jobs.make(CUSTOM)
    receipt = await worker.receipt(job)
    jobs.store.fetch(receipt.artifact, tmp_path / "result.mp4")
    result = probe(tmp_path / "result.mp4")
    assert result.video is not None
    assert result.video.frame_count == job.frames.frame_count
    assert result.audio is not None
    assert receipt.engine == "neural"
    assert receipt.model_revisions["wav2lip_custom"] == "unpinned-local"
    assert receipt.faces.ratio == 1
    assert receipt.encoder == X264
    assert receipt.notes == ()
    assert markers_of(jobs.store, job) == ["started-1.json"]


async def test_the_sound_of_the_result_is_the_driving_audio_also_when_the_network_hears_it_denoised(
    worker: Worker, jobs: Jobs, tmp_path: Path
) -> None:
    noisy = babble(1.2) + np.random.default_rng(3).normal(0, 0.03, int(1.2 * RATE)).astype(np.float32)
    job = jobs.make(
        STAND_IN.model_copy(update={"denoise": True}), driving_audio=jobs.sound("noisy.wav", noisy, tmp_path)
    )
    jobs.store.fetch((await worker.receipt(job)).artifact, tmp_path / "result.mp4")
    heard = load_mono(tmp_path / "result.mp4")
    length = min(len(heard), len(noisy))
    assert float(np.corrcoef(heard[:length], noisy[:length])[0, 1]) > 0.95


async def test_models_stay_loaded_for_the_next_job(
    worker: Worker, jobs: Jobs, checkpoint: Path, tmp_path: Path
) -> None:
    weights = folder_with(tmp_path, "wav2lip_custom.pth", content_of(checkpoint))
    warm, cold = worker_with(worker, weights), worker_with(worker, weights)
    await warm.receipt(jobs.make(CUSTOM))
    (weights.folder / "wav2lip_custom.pth").unlink()
    await warm.receipt(jobs.make(CUSTOM))
    assert (await cold.fault(jobs.make(CUSTOM))).code is FaultCode.MODEL_MISSING


async def test_the_start_is_marked_before_models_load(worker: Worker, jobs: Jobs, tmp_path: Path) -> None:
    without = worker_with(worker, WeightStore(tmp_path / "none", manifest()))
    job = jobs.make(CUSTOM)
    assert (await without.fault(job)).code is FaultCode.MODEL_MISSING
    assert markers_of(jobs.store, job) == ["started-1.json"]


async def test_progress_counts_frames_that_are_done(worker: Worker, jobs: Jobs) -> None:
    job = jobs.make(CUSTOM, at_least=20)
    await worker.receipt(job)
    done = [report.done for report in worker.reports]
    assert done == sorted(done)
    assert {report.total for report in worker.reports} == {job.frames.frame_count}
    messages = [report.message for report in worker.reports]
    assert messages[:3] == ["fetching inputs", "loading models", "changing frames"]
    assert messages[-1] == "storing the result"


async def test_a_file_that_is_not_the_published_one_is_named_with_both_digests(
    worker: Worker, jobs: Jobs, tmp_path: Path
) -> None:
    wrong = worker_with(worker, folder_with(tmp_path, "wav2lip_gan.pth", b"not the one"))
    fault = await wrong.fault(jobs.make(CUSTOM.model_copy(update={"lip_syncer_model": "wav2lip_gan"})))
    assert fault.code is FaultCode.MODEL_CORRUPT
    assert not fault.is_retryable
    assert "wav2lip_gan.pth" in fault.detail
    assert "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8" in fault.detail
    assert "0f4dd1ffc2a7a2d2e0c5fb7ff49b4bdb0e0a0e3d" not in fault.detail
    assert fault.detail.count("sha256") == 1


async def test_truncated_weights_are_named_and_the_whole_ones_run_afterwards(
    worker: Worker, jobs: Jobs, checkpoint: Path, tmp_path: Path
) -> None:
    whole = content_of(checkpoint)
    weights = folder_with(tmp_path, "wav2lip_custom.pth", whole[:1_000_000])
    truncated = worker_with(worker, weights)
    fault = await truncated.fault(jobs.make(CUSTOM))
    assert fault.code is FaultCode.MODEL_CORRUPT
    assert "wav2lip_custom" in fault.detail
    # What was trusted first is what counts; another file needs another folder, or the lock taken away.
    (weights.folder / "wav2lip_custom.pth").write_bytes(whole)
    assert (await truncated.fault(jobs.make(CUSTOM))).code is FaultCode.MODEL_CORRUPT
    for lock in weights.folder.glob("*.json"):
        lock.unlink()
    await truncated.receipt(jobs.make(CUSTOM))


async def test_a_network_that_says_the_same_whatever_it_hears_is_no_network(
    worker: Worker, jobs: Jobs, tmp_path: Path
) -> None:
    import torch  # noqa: PLC0415 - only here

    write_checkpoint(tmp_path / "dead.pth", SEED)
    held = torch.load(tmp_path / "dead.pth", weights_only=True)
    held["state_dict"]["module.output_block.1.weight"].zero_()
    torch.save(held, tmp_path / "dead.pth")
    dead = worker_with(worker, folder_with(tmp_path, "wav2lip_custom.pth", (tmp_path / "dead.pth").read_bytes()))
    fault = await dead.fault(jobs.make(CUSTOM))
    assert fault.code is FaultCode.MODEL_CORRUPT
    assert "says the same" in fault.detail


async def test_an_onnx_file_of_another_network_is_named(
    worker: Worker, jobs: Jobs, weights: WeightStore, tmp_path: Path
) -> None:
    other = (weights.folder / "edtalk_256.onnx").read_bytes()
    for number, (content, says) in enumerate(((other, "input target"), (b"no network", "no network"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        wrong = worker_with(worker, folder_with(folder, "wav2lip_96.onnx", content))
        fault = await wrong.fault(jobs.make(STAND_IN))
        assert fault.code is FaultCode.MODEL_CORRUPT
        assert says in fault.detail


async def test_a_model_whose_licence_nobody_acknowledged_does_not_run(
    worker: Worker, jobs: Jobs, weights: WeightStore, tmp_path: Path
) -> None:
    content = (weights.folder / "wav2lip_96.onnx").read_bytes()
    strict = worker_with(worker, folder_with(tmp_path, "wav2lip_96.onnx", content, acknowledged=False))
    fault = await strict.fault(jobs.make(STAND_IN))
    assert fault.code is FaultCode.LICENCE_NOT_ACKNOWLEDGED
    assert "LicenseRef-Wav2Lip-NonCommercial" in fault.detail
    assert not fault.is_retryable


async def test_the_default_model_needs_no_acknowledgement(
    worker: Worker, jobs: Jobs, weights: WeightStore, tmp_path: Path
) -> None:
    content = (weights.folder / "edtalk_256.onnx").read_bytes()
    free = worker_with(worker, folder_with(tmp_path, "edtalk_256.onnx", content, acknowledged=False))
    receipt = await free.receipt(jobs.make(Wav2LipOptions()))
    assert receipt.notes == ("enhancer auto enhanced nothing: restoreformer_plus_plus is not installed on this worker",)


async def test_revisions_that_differ_from_the_flows_are_refused(worker: Worker, jobs: Jobs) -> None:
    job = jobs.make(CUSTOM)
    fault = await worker.fault(job.model_copy(update={"model_revisions": {**job.model_revisions, "wav2lip": "0" * 12}}))
    assert fault.code is FaultCode.REVISION_MISMATCH
    assert "wav2lip" in fault.detail
    assert markers_of(jobs.store, job) == []


async def test_a_silent_sound_is_a_fault_before_any_model_loads(worker: Worker, jobs: Jobs, tmp_path: Path) -> None:
    without = worker_with(worker, WeightStore(tmp_path / "none", manifest()))
    job = jobs.make(CUSTOM, driving_audio=jobs.sound("silent.wav", silence(2), tmp_path))
    fault = await without.fault(job)
    assert fault.code is FaultCode.NO_AUDIO_STREAM
    assert "silent" in fault.detail
    assert not fault.is_retryable


async def test_samples_that_are_no_numbers_are_silence(worker: Worker, jobs: Jobs, tmp_path: Path) -> None:
    samples = babble(1.0)
    samples[2000:4000] = np.nan
    partly = jobs.make(STAND_IN, driving_audio=jobs.sound("some-nan.wav", float_wav(samples), tmp_path))
    assert (await worker.receipt(partly)).faces.ratio == 1
    wholly = jobs.make(STAND_IN, driving_audio=jobs.sound("nan.wav", float_wav(samples * np.nan), tmp_path))
    assert (await worker.fault(wholly)).code is FaultCode.NO_AUDIO_STREAM


async def test_out_of_memory_replaces_the_worker_and_may_be_tried_again(
    worker: Worker, jobs: Jobs, weights: WeightStore
) -> None:
    cramped = worker_with(worker, weights)
    assert cramped.pipeline.neural is not None
    cramped.pipeline.neural._networks.get("wav2lip_custom", lambda: (Counting(fits=0), Batches(8)))
    job = jobs.make(CUSTOM)
    handler = Handler(
        Workshop(pipeline=cramped.pipeline, store=jobs.store, scratch=Scratch(worker.scratch), threads=1),
        worker_id="here",
        send_progress=lambda _wire, _report: None,
    )
    wire = await handler.handle({"id": "cramped", "input": as_input(job)})
    assert wire["refresh_worker"] is True
    assert wire["fault"]["code"] == FaultCode.OUT_OF_MEMORY
    assert list(worker.scratch.iterdir()) == []


async def test_a_full_disk_is_a_fault_that_leaves_nothing_and_the_next_job_is_served(
    worker: Worker, jobs: Jobs
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(report: Progress) -> None:
        # From when the inputs are there: what is written beyond this length fails as on a full disk.
        if report.message == "changing frames":
            resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES, hard))

    worker.on_report = fill_up
    try:
        fault = await worker.fault(jobs.make(STAND_IN))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fault.code is FaultCode.DISK_FULL
    assert fault.is_retryable
    worker.on_report = lambda _report: None
    await worker.receipt(jobs.make(STAND_IN))


@pytest.mark.parametrize("moment", ["fetching inputs", "loading models", "changing frames", "frame 20"])
async def test_a_cancel_at_any_moment_ends_within_a_second_and_leaves_nothing(
    worker: Worker, jobs: Jobs, weights: WeightStore, moment: str
) -> None:
    fresh = worker_with(worker, weights)
    reached, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch(report: Progress) -> None:
        if report.message == moment or (moment == "frame 20" and report.done >= 20):
            loop.call_soon_threadsafe(reached.set)

    fresh.on_report = watch
    job = jobs.make(CUSTOM, at_least=500)
    working = asyncio.create_task(fresh.handle(job))
    await asyncio.wait_for(reached.wait(), 60)
    spent = time.process_time()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    # Of processor time: two cores for a second. Others may share the machine with us.
    assert time.process_time() - spent < 2.0
    assert list(fresh.scratch.iterdir()) == []
    fresh.on_report = lambda _report: None
    await fresh.receipt(jobs.make(CUSTOM, task_id=moment))


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
