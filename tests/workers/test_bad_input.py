import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.receipts import JobReply
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import EndpointClient, RunningPlane
from tests.workers.jobs import Uploads, as_input, markers_of, receipt_of, reply_of

UNREADABLE = {FaultCode.MEDIA_UNREADABLE, FaultCode.MEDIA_UNSUPPORTED}


@dataclass(frozen=True)
class Bench:
    """A worker, what it reads, and where it writes."""

    lip_sync: EndpointClient
    store: ArtifactStore
    uploads: Uploads


@pytest.fixture(scope="package")
def bench(lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads) -> Bench:
    return Bench(lip_sync, store, uploads)


@pytest.fixture(scope="package")
def garbage(store: ArtifactStore) -> Artifact:
    noise = io.BytesIO(np.random.default_rng(7).bytes(50_000))
    return store.put_stream(noise, "uploads/video/garbage.mp4", "video/mp4")


@pytest.fixture(scope="package")
def cut_off(store: ArtifactStore, uploads: Uploads) -> Artifact:
    """The first half of a sound video."""
    whole = store._client.get_object(Bucket=store._bucket, Key=uploads.target.key)["Body"].read()
    return store.put_stream(io.BytesIO(whole[: len(whole) // 2]), "uploads/video/cut-off.mp4", "video/mp4")


@pytest.fixture(scope="package")
def faceless(store: ArtifactStore, uploads: Uploads, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """As many frames as the sample clip has, without a face in any."""
    path = tmp_path_factory.mktemp("clips") / "faceless.mp4"
    with VideoWriter(path, width=320, height=240, fps=uploads.target_video.fps) as writer:
        for shade in range(uploads.target_video.frame_count):
            writer.write(np.full((240, 320, 3), 3 * shade, np.uint8))
    return store.put_file(path, "uploads/video/faceless.mp4", "video/mp4")


@pytest.fixture(scope="package")
def wrongs(uploads: Uploads, garbage: Artifact, cut_off: Artifact, faceless: Artifact) -> dict[str, dict[str, Any]]:
    """Every kind of bad media, as what it changes in a sound job."""
    return {
        "noise for a target": {"target": garbage},
        "a cut-off target": {"target": cut_off},
        "a sound for a target": {"target": uploads.voice},
        "a picture for a voice": {"driving_audio": uploads.source},
        "a silent video for a voice": {"driving_audio": uploads.target},
        "a target that is not there": {"target": garbage.model_copy(update={"key": "work/x.mp4", "sha256": "1" * 64})},
        "another target than promised": {"target": uploads.target.model_copy(update={"sha256": "2" * 64})},
        "a target without a face": {"target": faceless},
    }


async def answer(endpoint: EndpointClient, job_input: dict[str, Any]) -> JobReply:
    """Run a job that fails; whatever is wrong, RunPod must see an ordinary end and the SDK no error of ours."""
    body = await endpoint.until(await endpoint.run(job_input), "COMPLETED")
    assert "error" not in body
    assert "error" not in body["output"]
    assert "Traceback" not in str(body)
    return reply_of(body)


@pytest.mark.parametrize(
    ("wrong", "codes"),
    [
        ("noise for a target", UNREADABLE),
        ("a cut-off target", UNREADABLE),
        ("a sound for a target", {FaultCode.NO_VIDEO_STREAM}),
        ("a picture for a voice", {FaultCode.NO_AUDIO_STREAM, FaultCode.MEDIA_UNSUPPORTED}),
        ("a silent video for a voice", {FaultCode.NO_AUDIO_STREAM}),
        ("a target that is not there", {FaultCode.OBJECT_MISSING}),
        ("another target than promised", {FaultCode.OBJECT_CORRUPT}),
        ("a target without a face", {FaultCode.NO_FACE_DETECTED}),
    ],
)
async def test_bad_media_is_a_typed_fault_and_the_worker_lives_on(
    bench: Bench, wrongs: dict[str, dict[str, Any]], wrong: str, codes: set[FaultCode]
) -> None:
    (worker,) = await bench.lip_sync.until_waiting()
    job = bench.uploads.lip_sync(9, **wrongs[wrong])

    reply = await answer(bench.lip_sync, as_input(job))

    assert reply.fault is not None
    assert reply.fault.code in codes
    assert reply.fault.stage == "wav2lip"
    assert reply.log_tail
    # What was tried is on record; what failed is not taken for a result.
    assert markers_of(bench.store, job) == ["started-1.json"]
    assert [one["pid"] for one in await bench.lip_sync.workers()] == [worker["pid"]]


async def test_a_refused_job_starts_nothing_and_the_next_sound_one_is_served(bench: Bench) -> None:
    (worker,) = await bench.lip_sync.until_waiting()
    job = bench.uploads.lip_sync(10)

    reply = await answer(bench.lip_sync, {"job": job.model_dump(mode="json") | {"model_revisions": {}}})

    assert reply.fault is not None
    assert reply.fault.code is FaultCode.REVISION_MISMATCH
    assert markers_of(bench.store, job) == []
    served = await bench.lip_sync.until(await bench.lip_sync.run(as_input(job)), "COMPLETED")
    assert receipt_of(served).video.frame_count == 10
    assert [one["pid"] for one in await bench.lip_sync.workers()] == [worker["pid"]]


async def test_logs_name_the_task_and_hold_no_secret(
    lip_sync: EndpointClient, plane: RunningPlane, uploads: Uploads, bucket: R2Settings
) -> None:
    job = uploads.lip_sync(11, task_id="a-task-to-find")
    body = await lip_sync.until(await lip_sync.run(as_input(job)), "COMPLETED")
    receipt = receipt_of(body)
    logs = "".join(path.read_text(errors="replace") for path in plane.config.log_dir.rglob("*") if path.is_file())
    assert '"task_id": "a-task-to-find"' in logs
    assert receipt.fingerprint in logs
    for text in (logs, str(body)):
        assert bucket.secret_access_key.get_secret_value() not in text
        assert bucket.access_key_id not in text
        assert bucket.endpoint not in text
