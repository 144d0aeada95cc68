"""The worker with the neural engine: a handler over a real bucket, stand-in models."""

from pathlib import Path

import numpy as np

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.probe import probe
from gpu_tasks.media.writer import X264
from gpu_tasks.weights import WeightStore
from tests.wav2lip.sounds import RATE, babble
from tests.wav2lip.working import CUSTOM, STAND_IN, Jobs, Worker, content_of, folder_with, worker_with
from tests.workers.jobs import markers_of


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


async def test_the_default_model_needs_no_acknowledgement(
    worker: Worker, jobs: Jobs, weights: WeightStore, tmp_path: Path
) -> None:
    content = (weights.folder / "edtalk_256.onnx").read_bytes()
    free = worker_with(worker, folder_with(tmp_path, "edtalk_256.onnx", content, acknowledged=False))
    receipt = await free.receipt(jobs.make(Wav2LipOptions()))
    assert receipt.notes == ("enhancer auto enhanced nothing: restoreformer_plus_plus is not installed on this worker",)
