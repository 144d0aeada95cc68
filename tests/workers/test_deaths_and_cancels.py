import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Wav2LipJob, keys_of
from gpu_tasks.contract.receipts import Claim, StartMarker
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import EndpointClient, comes_true
from tests.waiting import await_until
from tests.workers.jobs import Uploads, as_input, markers_of, receipt_of, reply_of


def job_folders(scratch_root: Path) -> list[Path]:
    return list(scratch_root.rglob("job-*"))


async def frames_are_changed(endpoint: EndpointClient, job_id: str) -> None:
    """Return when the job's progress shows that its pixels are worked on."""

    async def at_work() -> bool:
        body = (await endpoint.get(f"status/{job_id}")).body
        return bool(body["status"] == "IN_PROGRESS" and body.get("output", {}).get("done", 0) > 0)

    await comes_true(at_work, what="frames are changed")


async def test_a_job_whose_worker_was_killed_is_done_by_the_next_and_both_left_their_names(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads, scratch_root: Path
) -> None:
    job = uploads.lip_sync(170)
    (worker,) = await lip_sync.until_waiting()
    job_id = await lip_sync.run(as_input(job))
    await frames_are_changed(lip_sync, job_id)

    os.kill(worker["pid"], signal.SIGKILL)

    receipt = receipt_of(await lip_sync.until(job_id, "COMPLETED"))
    assert (receipt.attempt, receipt.execution) == (1, 2)
    assert receipt.artifact.key == keys_of(job).output(1, 2)
    assert markers_of(store, job) == ["started-1.2.json", "started-1.json"]
    markers = [store.read_json(keys_of(job).started(1, execution), StartMarker) for execution in (1, 2)]
    assert [marker and marker.worker_id for marker in markers] == [worker["id"], receipt.worker_id]
    assert worker["id"] != receipt.worker_id
    # What the dead worker left on the disk went when its successor started.
    assert job_folders(scratch_root) == []


async def test_a_cancelled_job_stops_within_a_second_and_leaves_nothing(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads, scratch_root: Path
) -> None:
    (worker,) = await lip_sync.until_waiting()
    took: list[float] = []
    # Other tests take the processor now and then; one that does not listen works for minutes each time.
    while not took or (took[-1] >= 1 and len(took) < 5):
        job = uploads.lip_sync(3000 + len(took))
        job_id = await lip_sync.run(as_input(job))
        await frames_are_changed(lip_sync, job_id)
        assert len(job_folders(scratch_root)) == 1

        cancelled_at = time.monotonic()
        assert (await lip_sync.post(f"cancel/{job_id}")).status == 200
        assert await await_until(lambda: not job_folders(scratch_root), what="the scratch folder is gone")
        took.append(time.monotonic() - cancelled_at)
        assert store.head(keys_of(job).receipt) is None

    assert took[-1] < 1, took
    # The same process takes the next job.
    receipt_of(await lip_sync.until(await lip_sync.run(as_input(uploads.lip_sync(6))), "COMPLETED", seconds=30))
    assert [one["pid"] for one in await lip_sync.workers()] == [worker["pid"]]


async def refused(endpoint: EndpointClient, job: Wav2LipJob) -> FaultCode:
    fault = reply_of(await endpoint.until(await endpoint.run(as_input(job)), "COMPLETED")).fault
    assert fault is not None
    return fault.code


async def test_an_attempt_that_a_newer_claim_overtook_starts_nothing(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads
) -> None:
    job = uploads.lip_sync(7)
    keys = keys_of(job)
    claim = Claim(
        fingerprint=keys.fingerprint,
        stage=job.stage,
        attempt=2,
        task_id="somebody",
        cause="the first attempt did not answer",
        claimed_at=datetime.now(UTC),
        endpoint_id="wav2lip",
    )
    assert store.put_json(keys.claim(2), claim, if_absent=True)
    assert await refused(lip_sync, job) is FaultCode.SUPERSEDED
    assert markers_of(store, job) == []
    # The newer attempt itself runs.
    newer = await lip_sync.until(await lip_sync.run(as_input(job.as_attempt(2))), "COMPLETED", seconds=30)
    assert receipt_of(newer).attempt == 2


async def test_an_attempt_that_runs_as_another_job_is_not_started_twice(
    lip_sync: EndpointClient, store: ArtifactStore, uploads: Uploads
) -> None:
    job = uploads.lip_sync(8)
    keys = keys_of(job)
    other = StartMarker(
        fingerprint=keys.fingerprint,
        stage=job.stage,
        attempt=1,
        execution=1,
        job_id="another-job",
        worker_id="another-worker",
        started_at=datetime.now(UTC),
    )
    assert store.put_json(keys.started(1, 1), other, if_absent=True)
    assert await refused(lip_sync, job) is FaultCode.SUPERSEDED
    assert markers_of(store, job) == ["started-1.json"]
