"""Everything that can go wrong in a neural job: a typed fault, nothing left behind, and the next job is served."""

import asyncio
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.receipts import Progress
from gpu_tasks.runtime.batching import Batches
from gpu_tasks.runtime.execution import Workshop
from gpu_tasks.runtime.handler import Handler
from gpu_tasks.runtime.scratch import Scratch
from gpu_tasks.weights import WeightStore
from tests.wav2lip.counting import Counting
from tests.wav2lip.sounds import babble, silence
from tests.wav2lip.standins import SEED, write_checkpoint
from tests.wav2lip.working import CUSTOM, STAND_IN, Jobs, Worker, content_of, float_wav, folder_with, worker_with
from tests.workers.jobs import as_input, markers_of

OUTPUT_BYTES = 4096


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
    await asyncio.wait_for(reached.wait(), 120)
    spent = time.process_time()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    # Of processor time: two cores for a second. Others may share the machine with us.
    assert time.process_time() - spent < 2.0
    assert list(fresh.scratch.iterdir()) == []
    fresh.on_report = lambda _report: None
    await fresh.receipt(jobs.make(CUSTOM, task_id=moment))
