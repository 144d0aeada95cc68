"""Long footage on real workers that change nothing: cut, computed side by side, tried again in part, put together."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import av
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from flows.accounts import JobAccount
from flows.ledger import read_account
from gpu_tasks.contract.artifacts import WORK, WorkKeys
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.receipts import Claim, Receipt
from gpu_tasks.contract.records import RecordStage, Status, TaskRecord
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests.runpod.plane import API_KEY, EndpointClient
from tests.runs.long_footage import FPS, Identities, numbers_in, upload_footage
from tests.runs.orchestra import LEAN, Orchestra, SharedWorker, Worker, deploy, edited, worker_process

SECONDS = 42
FRAMES = int(SECONDS * FPS)
# Four equal parts of at least ten seconds.
STARTS = (0, 21, 42, 63)


@pytest.fixture(scope="module")
def orchestrator(environment: dict[str, str], identities: Identities) -> dict[str, str]:
    """The variables of a worker whose long runs are cut every ten seconds."""
    changed = environment | identities.environment()
    deploy(changed, LIPSWAP_SEGMENT_SECONDS="10", LIPSWAP_QUALITY_ENABLED="false")
    return changed


@pytest.fixture(scope="module")
def worker(orchestrator: dict[str, str], shared_worker: SharedWorker) -> Worker:  # noqa: ARG001  # deployed before
    return shared_worker.at_work()


@pytest.fixture(scope="module")
def footage(store: ArtifactStore, keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    long = upload_footage(store, tmp_path_factory.mktemp("long"), seconds=SECONDS)
    return {"source_keys": keys["source_keys"], **long}


@dataclass(frozen=True)
class House:
    """The same footage again and again, with other options of the swap."""

    orchestra: Orchestra
    footage: dict[str, Any]
    identities: Identities
    r2: R2Settings

    def request(self, blend: int = 30) -> dict[str, Any]:
        return self.footage | {"facefusion": {"face_enhancer_blend": blend}}


@pytest.fixture(scope="module")
async def open_house(
    orchestra: Orchestra,
    footage: dict[str, Any],
    identities: Identities,
    r2: R2Settings,
    worker: object,  # noqa: ARG001  # comes before
) -> House:
    return House(orchestra, footage, identities, r2)


@pytest.fixture
def house(open_house: House) -> Iterator[House]:
    """Its workers do nothing special, unless a test says so."""
    yield open_house
    open_house.identities.follow()


@pytest.fixture(scope="module")
async def whole_run(open_house: House) -> TaskRecord:
    """The first run of the footage, in four segments."""
    return await open_house.orchestra.run(open_house.request())


def claims_of(store: ArtifactStore, record: TaskRecord, stage: Stage) -> list[Claim]:
    """All attempts of a stage that a run has paid for."""
    keys = (key for key in store.keys(f"{WORK}{stage}/") if "/claim-" in key)
    found = (store.read_json(key, Claim) for key in keys)
    return [claim for claim in found if claim is not None and claim.task_id == record.task_id]


def claims(store: ArtifactStore, record: TaskRecord) -> dict[str, list[str]]:
    """Causes of all attempts that a run has paid for, by job."""
    found: dict[str, list[str]] = {}
    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        for claim in claims_of(store, record, stage):
            found.setdefault(f"{stage}/{claim.fingerprint}", []).append(claim.cause)
    return found


def account_of(store: ArtifactStore, job: str) -> JobAccount:
    stage, _, fingerprint = job.partition("/")
    return read_account(store, WorkKeys(stage=Stage(stage), fingerprint=fingerprint))


def receipts(store: ArtifactStore, record: TaskRecord) -> list[Receipt]:
    """The receipts of all jobs that a run has paid for."""
    found = [store.read_json(f"{WORK}{job}/receipt.json", Receipt) for job in claims(store, record)]
    return [receipt for receipt in found if receipt is not None]


def fetched(store: ArtifactStore, record: TaskRecord, folder: Path) -> Path:
    assert record.result is not None, record.error
    path = folder / f"{record.task_id}.mp4"
    store.fetch_key(record.result.output_key, path, max_bytes=10**8)
    return path


def frames_digest(path: Path) -> list[str]:
    with VideoReader(path) as reader:
        return [hashlib.sha256(frame.pixels.tobytes()).hexdigest() for frame in reader]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.pts is not None]


async def test_the_parts_of_long_footage_become_its_frames_in_order(
    whole_run: TaskRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    assert whole_run.status is Status.COMPLETED, whole_run.error
    assert [part["start_frame"] for part in whole_run.media["segments"]] == list(STARTS)
    result = fetched(store, whole_run, tmp_path)
    assert numbers_in(result) == list(range(FRAMES))
    with av.open(str(result)) as container:
        clock = container.streams.video[0].time_base
        assert clock is not None
        times = sorted(packet.pts * clock for packet in container.demux(video=0) if packet.pts is not None)
    assert times == [number / FPS for number in range(FRAMES)]


async def test_the_intermediate_has_all_frames_and_the_very_sound_of_the_result(
    house: House, store: ArtifactStore, tmp_path: Path
) -> None:
    record = await house.orchestra.run(house.request() | {"retain_intermediate": True})
    assert record.result is not None, record.error
    assert record.result.intermediate is not None
    kept = tmp_path / "intermediate.mp4"
    store.fetch_key(record.result.intermediate["wav2lip"].output_key, kept, max_bytes=10**8)
    assert numbers_in(kept) == list(range(FRAMES))
    assert sound_packets(kept) == sound_packets(fetched(store, record, tmp_path))


async def test_the_record_sums_over_segments(whole_run: TaskRecord, store: ArtifactStore) -> None:
    details = whole_run.details
    assert (details["wav2lip_status"], details["facefusion_status"]) == ("COMPLETED", "COMPLETED")
    assert (details["wav2lip_attempts"], details["facefusion_attempts"]) == (4, 4)
    assert details["segments"]["count"] == 4
    assert details["segments"]["facefusion"] == {"by_status": {"COMPLETED": 4}, "attempts": 4, "jobs": {}}
    made = whole_run.provenance["facefusion"]
    assert len(made["segments"]) == 4
    assert made["faces"]["frames_looked_at"] == FRAMES
    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        prints = [receipt.fingerprint for receipt in receipts(store, whole_run) if receipt.stage is stage]
        accounts = [account_of(store, f"{stage}/{each}") for each in prints]
        spent = [account.spent(whole_run.task_id).gpu_seconds for account in accounts]
        assert whole_run.cost.by_stage[stage] == pytest.approx(sum(spent), abs=0.01)
        assert len(spent) == 4
        assert min(spent) > 0
    stages = list(dict.fromkeys(entry.stage for entry in whole_run.progress))
    assert stages == [
        RecordStage.QUEUED,
        RecordStage.INGEST,
        RecordStage.WAV2LIP,
        RecordStage.FACEFUSION,
        RecordStage.ASSEMBLE,
        RecordStage.PUBLISH,
        RecordStage.COMPLETED,
    ]
    percents = [entry.extra["percent"] for entry in whole_run.progress if "percent" in entry.extra]
    assert percents == sorted(percents)


async def test_the_face_swap_of_a_segment_waits_for_no_other_segment(house: House, prefect: PrefectClient) -> None:
    house.identities.follow(hold=[f"wav2lip:{STARTS[-1]}"])
    request = house.request(35) | {"wav2lip": {"blending": 35}}

    def is_held_alone(record: TaskRecord) -> bool:
        told = record.details.get("segments", {})
        standing = [told.get(stage, {}).get("by_status") for stage in ("wav2lip", "facefusion")]
        return standing == [{"COMPLETED": 3, "IN_PROGRESS": 1}, {"COMPLETED": 3}]

    # One after the other: the segment that is held comes last.
    async with edited(prefect, max_segments_per_endpoint=1):
        task_id = await house.orchestra.send(request)
        await house.orchestra.until(task_id, is_held_alone)
    house.identities.follow()
    assert (await house.orchestra.final(task_id)).status is Status.COMPLETED


async def test_a_policy_edited_in_prefect_acts_on_the_next_run_and_segments_change_no_frame(
    house: House, whole_run: TaskRecord, store: ArtifactStore, prefect: PrefectClient, tmp_path: Path
) -> None:
    async with edited(prefect, segment_seconds=600.0):
        unsegmented = await house.orchestra.run(house.request())
    assert unsegmented.media["segments"] == []
    assert "segments" not in unsegmented.details
    whole, joined = fetched(store, unsegmented, tmp_path), fetched(store, whole_run, tmp_path)
    assert frames_digest(joined) == frames_digest(whole)
    assert sound_packets(joined) == sound_packets(whole)


async def test_only_the_segment_that_failed_is_tried_again(
    house: House, store: ArtifactStore, whole_run: TaskRecord
) -> None:
    house.identities.follow(fail=[f"facefusion:{STARTS[2]}:1"])
    record = await house.orchestra.run(house.request(31))
    assert record.status is Status.COMPLETED, record.error
    paid = claims(store, record)
    assert sorted(map(tuple, paid.values())) == [("first",), ("first",), ("first",), ("first", "out_of_memory")]
    assert record.details["facefusion_attempts"] == 5
    # Its lip-sync is that of the first run, to the job.
    assert record.cost.by_stage["wav2lip"] == 0
    assert record.details["wav2lip_job_id"] == whole_run.details["wav2lip_job_id"]


async def test_a_segment_that_is_refused_ends_the_run_and_nothing_more_is_begun(
    house: House, store: ArtifactStore
) -> None:
    house.identities.follow(refuse=[f"facefusion:{STARTS[0]}"])
    record = await house.orchestra.run(house.request(32))
    assert record.error is not None
    assert (record.error.error, record.error.stage) == (FaultCode.CONTENT_REFUSED, "facefusion")
    assert all(causes == ["first"] for causes in claims(store, record).values())


async def test_a_cancelled_run_stops_every_segment_and_nothing_is_paid_any_more(
    house: House, store: ArtifactStore, prefect: PrefectClient
) -> None:
    # Two segments get as far as their face swap, two as far as their lip-sync; each stage has one worker.
    held = [f"facefusion:{start}" for start in STARTS[:2]] + [f"wav2lip:{start}" for start in STARTS[2:]]
    house.identities.follow(hold=held)
    request = house.request(34) | {"wav2lip": {"blending": 34}}

    def are_all_in_flight(record: TaskRecord) -> bool:
        told = record.details.get("segments", {})
        standing = [told.get(stage, {}).get("by_status") for stage in ("wav2lip", "facefusion")]
        in_flight = {"IN_PROGRESS": 1, "IN_QUEUE": 1}
        return standing == [in_flight | {"COMPLETED": 2}, in_flight]

    async with edited(prefect, max_segments_per_endpoint=2):
        task_id = await house.orchestra.send(request)
        working = await house.orchestra.until(task_id, are_all_in_flight)
    paid = claims(store, working)
    await house.orchestra.prefect.set_flow_run_state(UUID(task_id), Cancelling())
    record = await house.orchestra.final(task_id)
    assert record.status is Status.CANCELLED
    assert (await house.orchestra.ended(task_id)).state_type is StateType.CANCELLED

    # RunPod itself says of each job that it is over, and none was begun since.
    assert claims(store, record) == paid
    accounts = [account_of(store, job) for job in paid]
    executions = [execution for account in accounts for execution in account.executions]
    assert sorted(execution.outcome for execution in executions) == ["cancelled"] * 4 + ["completed"] * 2
    async with aiohttp.ClientSession(headers={"Authorization": API_KEY}) as http:
        for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
            endpoint = EndpointClient(http, house.identities.plane.base_url, stage.value)
            ids = [claim.job_id for claim in claims_of(store, record, stage)]
            assert {(await endpoint.get(f"status/{job_id}")).body["status"] for job_id in ids} <= {
                "CANCELLED",
                "COMPLETED",
            }
            health = (await endpoint.get("health")).body
            assert health["jobs"]["inProgress"] == health["jobs"]["inQueue"] == 0
            assert record.details[f"{stage}_stopped"] is True
    assert record.cost.gpu_seconds == pytest.approx(
        sum(account.spent(task_id).gpu_seconds for account in accounts), abs=0.01
    )


@pytest.mark.inprocess
async def test_a_run_that_dies_when_nearly_done_pays_only_for_what_is_left(
    house: House,
    prefect: PrefectClient,
    orchestrator: dict[str, str],
    worker: Worker,
    tmp_path: Path,
) -> None:
    store = connect(house.r2)
    house.identities.follow(hold=[f"facefusion:{STARTS[-1]}"])
    # One after the other: the segment that is held comes last.
    async with edited(prefect, max_segments_per_endpoint=1):
        task_id = await house.orchestra.send(house.request(33))
        await house.orchestra.until(task_id, lambda record: record.stage is RecordStage.FACEFUSION)

    def is_nearly_done(record: TaskRecord) -> bool:
        swaps = record.details.get("segments", {}).get("facefusion", {})
        return bool(swaps.get("by_status") == {"COMPLETED": 3, "IN_PROGRESS": 1})

    nearly = await house.orchestra.until(task_id, is_nearly_done)
    worker.process.kill()
    worker.process.wait(60)
    paid = claims(store, nearly)
    house.identities.follow()
    with worker_process(orchestrator | LEAN, tmp_path, "flows.worker"):
        record = await house.orchestra.final(task_id)
    assert record.status is Status.COMPLETED, record.error
    assert record.attempts == 2
    # The job at work was joined again, and what had its receipt was not asked for.
    assert claims(store, record) == paid
    assert len(paid) == 4
    assert numbers_in(fetched(store, record, tmp_path)) == list(range(FRAMES))
