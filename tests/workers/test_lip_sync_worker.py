from pathlib import Path

import cv2
import numpy as np

from gpu_tasks.contract.jobs import Quality, Segment, keys_of
from gpu_tasks.contract.options import Wav2LipOptions
from gpu_tasks.contract.receipts import Progress
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import EndpointClient, comes_true
from tests.workers.jobs import Uploads, as_input, markers_of, receipt_of

FRAMES = 40  # four more than the target has: it is looped


async def test_a_voice_and_a_video_become_a_speaking_video(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads, tmp_path: Path
) -> None:
    job = uploads.lip_sync(
        FRAMES, options=Wav2LipOptions(denoise=True), quality=Quality.INTERMEDIATE, task_id="speaking"
    )

    body = await lip_sync.until(await lip_sync.run(as_input(job)), "COMPLETED")

    receipt = receipt_of(body)
    store.fetch(receipt.artifact, tmp_path / "result.mp4")
    result = probe(tmp_path / "result.mp4")
    assert result.video == receipt.video
    assert receipt.video.frame_count == FRAMES
    assert result.audio is not None
    assert abs(result.audio.duration_seconds - receipt.video.duration_seconds) < 0.05
    assert receipt.artifact.key == keys_of(job).output(1, 1)
    assert receipt.faces.ratio > 0.9
    assert receipt.encoder == "libx264"
    assert receipt.notes == ("denoise has no effect in the draft engine",)
    assert 0 < receipt.work_seconds < 60
    assert markers_of(store, job) == ["started-1.json"]
    # Only the lower face moves: the frame's top is what the target's is, up to the encoder's loss.
    store.fetch(uploads.target, tmp_path / "target.mp4")
    with VideoReader(tmp_path / "result.mp4") as made, VideoReader(tmp_path / "target.mp4") as original:
        # Averaged over 15x15 pixels: the encoder's noise has no sign, a moved lip has.
        changes = [
            np.abs(cv2.blur(after.pixels.astype(np.float32) - before.pixels, (15, 15))).max(axis=(1, 2))
            for after, before in zip(made, original, strict=False)
        ]
    rows = np.max(changes, axis=0)
    assert rows.max() > 5 * rows[: len(rows) // 5].max()


async def test_an_equal_job_is_answered_from_the_receipt_without_a_second_start(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads
) -> None:
    job = uploads.lip_sync(5)
    first = receipt_of(await lip_sync.until(await lip_sync.run(as_input(job)), "COMPLETED"))

    again = job.model_copy(update={"task_id": "another", "attempt": 7})
    second = receipt_of(await lip_sync.until(await lip_sync.run(as_input(again)), "COMPLETED"))

    assert second == first
    assert markers_of(store, job) == ["started-1.json"]


async def test_a_segment_is_silent_and_as_long_as_it_was_cut(lip_sync: EndpointClient, uploads: Uploads) -> None:
    job = uploads.lip_sync(60, segment=Segment(start_frame=31, stop_frame=43))
    receipt = receipt_of(await lip_sync.until(await lip_sync.run(as_input(job)), "COMPLETED"))
    assert receipt.video.frame_count == 12
    assert not receipt.has_audio
    assert receipt.faces.frames_looked_at == 12


async def test_progress_counts_the_frames(lip_sync: EndpointClient, uploads: Uploads) -> None:
    job_id = await lip_sync.run(as_input(uploads.lip_sync(120)))
    reports: dict[int, Progress] = {}

    async def is_over() -> bool:
        body = (await lip_sync.get(f"status/{job_id}")).body
        if body["status"] == "IN_PROGRESS" and "output" in body:
            report = Progress.model_validate(body["output"])
            reports[report.sequence] = report
        return bool(body["status"] == "COMPLETED")

    await comes_true(is_over, what="the job is done")
    in_order = [reports[sequence] for sequence in sorted(reports)]
    assert len(in_order) >= 2
    assert [report.done for report in in_order] == sorted(report.done for report in in_order)
    assert {report.total for report in in_order} == {120}
