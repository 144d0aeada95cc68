"""Whole runs through the real worker, server, bucket, Redis and GPU workers."""

import asyncio
import wave
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import cv2
import httpx
import pytest
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Cancelling

from blocks.job_store import parse_record
from deployments.local.services import ServiceName
from gpu_tasks.contract.audit import AuditEntry, AuditEvent
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.quality import QualityReport
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord
from gpu_tasks.media.probe import probe
from gpu_tasks.storage import ArtifactStore
from tests.media.footage import numbered_frame, write_video
from tests.runpod.plane import comes_true
from tests.runs.long_footage import SAMPLES
from tests.runs.orchestra import Orchestra
from tests.servers import RunningStack
from tests.waiting import await_until, wait_until

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(scope="module")
async def first(orchestra: Orchestra, keys: dict[str, Any], worker: None) -> TaskRecord:  # noqa: ARG001  # comes before
    """A run with everything in it."""
    return await orchestra.run(keys)


async def artifacts_of(orchestra: Orchestra, record: TaskRecord, kind: str) -> list[Any]:
    found = await orchestra.prefect.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(record.task_id)]),
            type=ArtifactFilterType(any_=[kind]),
        )
    )
    return [artifact.data for artifact in found]


async def test_voice_video_and_face_become_one_clip_with_sound(
    first: TaskRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    assert first.status is Status.COMPLETED, first.error
    assert first.result is not None
    assert first.result.output_key == f"outputs/{first.task_id}/result.mp4"
    store.fetch_key(first.result.output_key, tmp_path / "result.mp4", max_bytes=10**8)
    media = probe(tmp_path / "result.mp4")
    assert media.video is not None
    assert media.audio is not None
    assert media.video.duration_seconds == pytest.approx(1.5, abs=0.04)
    # The sample's 528 columns of 128:117, as square pixels.
    assert (media.video.width, media.video.height) == (578, 432)


async def test_the_record_tells_stages_in_order_jobs_media_and_cost(first: TaskRecord, store: ArtifactStore) -> None:
    stages = list(dict.fromkeys(entry.stage for entry in first.progress))
    assert stages == [
        RecordStage.QUEUED,
        RecordStage.INGEST,
        RecordStage.WAV2LIP,
        RecordStage.FACEFUSION,
        RecordStage.ASSEMBLE,
        RecordStage.PUBLISH,
        RecordStage.COMPLETED,
    ]
    assert first.percent == 100
    assert first.details["wav2lip_status"] == first.details["facefusion_status"] == "COMPLETED"
    assert first.details["flow_run_url"].endswith(first.task_id)
    assert first.details["engine"] == "draft"
    assert first.media["faces"]["frames_with_face"] > 0
    assert set(first.cost.by_stage) == {"wav2lip", "facefusion"}
    assert first.cost.gpu_seconds == pytest.approx(sum(first.cost.by_stage.values()))
    assert first.cost.gpu_seconds > 0
    # The local stack's workers are CPUs: nobody has said what they cost.
    assert first.cost.usd is None
    assert store.head(first.intermediate["wav2lip"].output_key) is not None


async def test_the_record_tells_how_good_the_result_is(first: TaskRecord) -> None:
    told = dict(first.details["quality"])
    assert told.pop("measured") is True
    report = QualityReport.model_validate(told)
    assert report.lengths.frames == report.faces.frames_looked_at == 45
    assert report.faces.frames_with_face == 45
    assert report.lengths.sound_offset_ms == pytest.approx(0, abs=20)
    assert report.outside is not None
    assert report.outside.psnr_db > 38
    assert report.identity is not None
    assert report.identity.toward_source > 0.3


async def test_the_run_leaves_its_record_and_a_summary_with_prefect(first: TaskRecord, orchestra: Orchestra) -> None:
    async def left() -> tuple[Any, Any] | None:
        records = await artifacts_of(orchestra, first, "lipswap-record")
        summaries = await artifacts_of(orchestra, first, "markdown")
        return (records[0], summaries[0]) if records and summaries else None

    kept: tuple[Any, Any] = await await_until(left, what="record and summary are with Prefect")
    record, summary = kept
    assert parse_record(record) == first
    assert first.result is not None
    assert first.result.output_key in summary


async def test_its_tasks_are_seen_in_prefect(first: TaskRecord, orchestra: Orchestra) -> None:
    async def finished() -> list[str] | None:
        found = await orchestra.prefect.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(first.task_id)]))
        )
        names = sorted(run.name.rpartition("-")[0] for run in found if run.state_type is StateType.COMPLETED)
        return names if len(names) == 6 else None

    names: list[str] = await await_until(finished, what="six tasks have completed")
    assert names == ["assemble", "face_swap", "ingest", "inspect", "lip_sync", "publish"]


async def test_the_same_request_again_touches_no_gpu(
    first: TaskRecord, orchestra: Orchestra, keys: dict[str, Any]
) -> None:
    before = await orchestra.started_jobs()
    again = await orchestra.run(keys)
    assert again.status is Status.COMPLETED
    assert await orchestra.started_jobs() == before
    assert again.cost.gpu_seconds == 0
    assert first.result is not None
    assert again.result is not None
    # Each task's file is signed for itself; what was signed is one and the same.
    assert again.provenance["facefusion"]["artifact"] == first.provenance["facefusion"]["artifact"]
    assert again.result.output_key != first.result.output_key


async def test_a_finished_run_that_an_operator_starts_again_keeps_its_result(
    orchestra: Orchestra, keys: dict[str, Any], store: ArtifactStore
) -> None:
    before = await orchestra.run(keys)

    # The record is final a moment before Prefect says so.
    await orchestra.ended(before.task_id)
    await orchestra.prefect.set_flow_run_state(UUID(before.task_id), AwaitingRetry(), force=True)

    async def ended_again() -> TaskRecord | None:
        record = await orchestra.job_store.read(before.task_id)
        return record if record is not None and record.attempts == 2 and record.status.is_final else None

    again: TaskRecord = await await_until(ended_again, seconds=120, what="the second try has ended")
    assert again.status is Status.COMPLETED, again.error
    assert again.result == before.result
    signed = [
        entry
        for key in store.keys("audit/")
        if not key.endswith("tip.json") and (entry := store.read_json(key, AuditEntry)) is not None
        if entry.event is AuditEvent.OUTPUT_SIGNED and entry.task_id == before.task_id
    ]
    assert len(signed) == 2, "the result and the intermediate, once each"


async def test_other_face_options_use_the_lip_sync_again(
    first: TaskRecord, orchestra: Orchestra, keys: dict[str, Any]
) -> None:
    before = await orchestra.started_jobs()
    changed = await orchestra.run(keys | {"facefusion": {"face_enhancer_blend": 77}})
    assert changed.status is Status.COMPLETED
    assert await orchestra.started_jobs() == before + 1
    assert changed.details["wav2lip_job_id"] == first.details["wav2lip_job_id"]
    assert changed.cost.by_stage["wav2lip"] == 0


async def test_an_upload_that_changes_is_another_input(
    orchestra: Orchestra, keys: dict[str, Any], store: ArtifactStore
) -> None:
    store.copy(keys["audio_key"], "uploads/audio/changing.wav")
    request = {"audio_key": "uploads/audio/changing.wav", "target_key": keys["target_key"]}
    one = await orchestra.run(request)
    with_noise = b"RIFF\x24\x00\x00\x00WAVEfmt "
    store.put_stream(BytesIO(with_noise), "uploads/audio/changing.wav", "audio/wav")
    two = await orchestra.run(request)
    assert one.status is Status.COMPLETED
    assert two.status is Status.FAILED


async def test_an_output_key_of_another_task_is_never_written(
    orchestra: Orchestra, keys: dict[str, Any], store: ArtifactStore, first: TaskRecord
) -> None:
    assert first.result is not None
    before = store.head(first.result.output_key)
    other = await orchestra.run(keys | {"output_key": first.result.output_key})
    assert other.error is not None
    assert (other.error.error, other.error.stage) == (FaultCode.OUTPUT_EXISTS, "publish")
    assert store.head(first.result.output_key) == before


BAD_INPUT: list[tuple[dict[str, Any], FaultCode]] = [
    ({"target_key": "uploads/video/nothing.mp4"}, FaultCode.OBJECT_MISSING),
    ({"target_key": "uploads/video/empty.mp4"}, FaultCode.OBJECT_EMPTY),
    ({"target_key": "uploads/video/faceless.mp4"}, FaultCode.NO_FACE_DETECTED),
    ({"target_key": "uploads/audio/voice.wav"}, FaultCode.NO_VIDEO_STREAM),
    ({"target_key": "uploads/source/face.jpg"}, FaultCode.MEDIA_UNSUPPORTED),
    ({"audio_key": "uploads/video/faceless.mp4"}, FaultCode.NO_AUDIO_STREAM),
    ({"source_keys": ["uploads/video/faceless.mp4"]}, FaultCode.MEDIA_UNSUPPORTED),
    ({"source_keys": ["uploads/source/wall.png"]}, FaultCode.NO_FACE_IN_SOURCE),
    ({"audio_key": None, "source_keys": []}, FaultCode.MISSING_AUDIO_KEY),
    ({"deadline_seconds": 0.001}, FaultCode.DEADLINE_EXCEEDED),
    ({"trim": {"start": 60}}, FaultCode.REQUEST_INVALID),
]


@pytest.fixture(scope="package")
def bad_uploads(store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bad")
    video = write_video(folder / "faceless.mp4", (numbered_frame(number) for number in range(25)))
    store.put_file(video, "uploads/video/faceless.mp4", "video/mp4")
    wall = folder / "wall.png"
    cv2.imwrite(str(wall), numbered_frame(3))
    store.put_file(wall, "uploads/source/wall.png", "image/png")
    # Our own store refuses to keep nothing; a client's PUT does not.
    url, headers = store.presign_put("uploads/video/empty.mp4", expires_seconds=60, media_type="video/mp4")
    httpx.put(url, headers=headers, content=b"", timeout=60).raise_for_status()


@pytest.fixture(scope="module")
async def refused(orchestra: Orchestra, keys: dict[str, Any], bad_uploads: None, worker: None) -> list[TaskRecord]:  # noqa: ARG001  # both come before
    """The records of all bad requests, sent at once; no GPU has worked for any of them."""
    before = await orchestra.started_jobs()
    records = await asyncio.gather(*(orchestra.run(keys | change) for change, _ in BAD_INPUT))
    assert await orchestra.started_jobs() == before
    return list(records)


@pytest.mark.parametrize("number", range(len(BAD_INPUT)), ids=[code.value for _, code in BAD_INPUT])
def test_bad_input_fails_with_a_code_before_a_gpu_is_paid(refused: list[TaskRecord], number: int) -> None:
    (_, code), record = BAD_INPUT[number], refused[number]
    assert record.status is Status.FAILED
    assert record.error is not None
    assert (record.error.error, record.error.stage) == (code, "ingest")
    assert "Traceback" not in record.error.detail


async def test_a_cancelled_run_stops_its_gpu_job_and_says_so(
    orchestra: Orchestra, store: ArtifactStore, keys: dict[str, Any], tmp_path: Path
) -> None:
    # Almost a minute of speech keeps a worker busy for longer than anybody takes to cancel it; a whole one would be cut
    # into segments, of which one may be done by then.
    with wave.open(str(SAMPLES / "speech.wav")) as speech, wave.open(str(tmp_path / "long.wav"), "wb") as long:
        long.setparams(speech.getparams())
        long.writeframes(speech.readframes(speech.getnframes()) * 7)
    voice = store.put_file(tmp_path / "long.wav", "uploads/audio/long.wav", "audio/wav").key
    task_id = await orchestra.send({"target_key": keys["target_key"], "audio_key": voice})
    working = await orchestra.until(task_id, lambda record: record.details.get("wav2lip_status") == "IN_PROGRESS")
    await orchestra.prefect.set_flow_run_state(UUID(task_id), Cancelling())
    record = await orchestra.final(task_id)
    assert record.status is Status.CANCELLED

    async def cancelled() -> bool:
        return (await orchestra.flow_run(task_id)).state_name == "Cancelled"

    await comes_true(cancelled, what="Prefect says Cancelled")
    assert await orchestra.job_status("wav2lip", working.details["wav2lip_job_id"]) == "CANCELLED"
    assert record.details["wav2lip_stopped"] is True
    # What was stopped has been paid for all the same.
    assert record.cost.by_stage["wav2lip"] > 0


@pytest.mark.inprocess
async def test_a_run_starts_within_a_second(orchestra: Orchestra, keys: dict[str, Any], first: TaskRecord) -> None:  # noqa: ARG001  # warm
    waits: list[float] = []
    # Other tests take the processor now and then; a worker that only polls would be late each time.
    while not waits or (waits[-1] >= 1.0 and len(waits) < 10):
        record = await orchestra.run(keys)
        run = await orchestra.flow_run(record.task_id)
        assert run.start_time is not None
        assert run.created is not None
        waits.append((run.start_time - run.created).total_seconds())
    assert waits[-1] < 1.0, waits


async def test_a_run_goes_on_while_redis_is_away(
    orchestra: Orchestra, keys: dict[str, Any], stack: RunningStack
) -> None:
    task_id = await orchestra.send(keys | {"facefusion": {"face_enhancer_blend": 13}})
    # Whoever looks late sees the stage after it.
    late = {RecordStage.FACEFUSION, RecordStage.ASSEMBLE, RecordStage.PUBLISH}
    await orchestra.until(task_id, lambda record: record.stage in late)
    await asyncio.to_thread(stack.kill, ServiceName.VALKEY)

    async def completed() -> bool:
        return (await orchestra.flow_run(task_id)).state_name == "Completed"

    await comes_true(completed, seconds=120, what="the run is completed")
    await asyncio.to_thread(stack.until_ready, ServiceName.VALKEY)


@pytest.mark.inprocess
def test_nothing_is_left_in_scratch(environment: dict[str, str]) -> None:
    pools = list(Path(environment["TMPDIR"]).glob("lipswap-cpu-*"))
    # One for the stages, one for the quick flows.
    assert len(pools) <= 2
    # The last run may just have ended, or been given up while a process was at work for it.
    wait_until(lambda: not [left for pool in pools for left in pool.iterdir()], what="nothing is left")
