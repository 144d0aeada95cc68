"""Endpoints that are wrong, busy, empty or broken: what is said, what is tried again, and that it costs nothing."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from pydantic import SecretStr

from blocks.bounds import BudgetBounds
from blocks.endpoint_health import EndpointState
from blocks.runpod_client import JobStatus
from blocks.wakes import Waker
from flows.errors import JobError
from flows.remote import RemoteJob
from flows.retrying import is_passing
from flows.verdict import End
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import keys_of
from gpu_tasks.contract.receipts import Receipt
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, StorageError, connect
from tests.jobs.scripted import Jobs, dead_claim, scripted_job, set_faults
from tests.runpod.plane import RunningPlane, comes_true
from tests.waiting import await_until


@pytest.fixture(autouse=True)
async def no_faults(scripted_plane: RunningPlane) -> AsyncIterator[None]:
    yield
    await set_faults(scripted_plane)


def at(jobs: Jobs, **changes: object) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"diagnose_after_seconds": 0.5, **changes})


async def test_an_endpoint_without_workers_is_found_out_told_to_the_door_and_costs_nothing(jobs: Jobs) -> None:
    at(jobs, endpoint_id="empty")
    job = scripted_job("good")
    with pytest.raises(JobError, match="raise its max workers") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.RUNPOD_NO_WORKERS
    assert "workers: none" in caught.value.fault.detail
    assert await jobs.status(jobs.claims(job)[0]) is JobStatus.CANCELLED
    (execution,) = jobs.account(job).executions
    assert (execution.outcome, execution.gpu_seconds, execution.execution) == ("runpod_no_workers", 0, 0)
    reading = await jobs.job_store.endpoint_health("empty")
    assert reading is not None
    assert reading.state is EndpointState.NO_WORKERS


async def test_workers_in_a_crash_loop_are_not_taken_for_missing_gpus(jobs: Jobs) -> None:
    at(jobs, endpoint_id="crashing")
    with pytest.raises(JobError, match="look at their logs") as caught:
        await jobs.run(scripted_job("good"))
    assert caught.value.fault.code is FaultCode.RUNPOD_WORKERS_CRASH


async def test_without_capacity_a_job_waits_as_long_as_the_queue_timeout_says(
    jobs: Jobs, scripted_plane: RunningPlane
) -> None:
    at(jobs, queue_timeout_seconds=1.5)
    await set_faults(scripted_plane, no_capacity=True)
    with pytest.raises(JobError, match="RUNPOD_QUEUE_TIMEOUT") as caught:
        await jobs.run(scripted_job("good"))
    assert caught.value.fault.code is FaultCode.RUNPOD_NO_CAPACITY


@pytest.mark.parametrize(("unfit", "cause"), [("empty", "runpod_no_workers"), ("nowhere", "runpod_endpoint_unknown")])
async def test_the_endpoint_beside_takes_what_the_first_will_not_do(jobs: Jobs, unfit: str, cause: str) -> None:
    at(jobs, endpoint_id=unfit, fallback_endpoint_id="scripted")
    job = scripted_job("good")
    await jobs.run(job)
    assert jobs.causes(job) == ["first", cause]
    assert [claim.endpoint_id for claim in jobs.claims(job)] == [unfit, "scripted"]


async def test_a_wrong_endpoint_id_is_told_at_once_with_its_setting(jobs: Jobs) -> None:
    at(jobs, endpoint_id="nowhere")
    job = scripted_job("good")
    with pytest.raises(JobError, match="RUNPOD_WAV2LIP_ENDPOINT") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.RUNPOD_ENDPOINT_UNKNOWN
    assert not is_passing(caught.value)
    assert len(jobs.claims(job)) == 1


async def test_a_refused_key_is_told_once_and_costs_nothing(jobs: Jobs) -> None:
    at(jobs, api_key=SecretStr("wrong"))
    job = scripted_job("good")
    with pytest.raises(FaultError, match="RUNPOD_API_KEY") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.RUNPOD_KEY_REFUSED
    assert not is_passing(caught.value)
    assert [entry.outcome for entry in jobs.account(job).executions] == ["runpod_key_refused"]


async def test_too_many_requests_for_too_long_names_the_settings_that_lower_the_load(
    jobs: Jobs, scripted_plane: RunningPlane
) -> None:
    at(jobs, queue_timeout_seconds=3)
    await set_faults(scripted_plane, answers=[{"operation": "run", "status": 429, "times": None}])
    job = scripted_job("good")
    with pytest.raises(JobError, match="RUNPOD_WAV2LIP_MAX_JOBS") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.RUNPOD_THROTTLED
    assert {entry.outcome for entry in jobs.account(job).executions} == {"runpod_throttled"}
    assert jobs.account(job).spent().gpu_seconds == 0


async def test_too_many_requests_for_a_while_are_waited_out_and_are_no_attempt(
    jobs: Jobs, scripted_plane: RunningPlane
) -> None:
    await set_faults(scripted_plane, answers=[{"operation": "run", "status": 429, "times": None}])
    job = scripted_job("good")
    running = asyncio.create_task(jobs.run(job, max_attempts=1))

    async def refused() -> bool:
        return bool((await asyncio.to_thread(jobs.account, job)).executions)

    await comes_true(refused, what="the first submit is refused")
    await set_faults(scripted_plane)
    assert (await running).paid_by == "a-run"
    assert set(jobs.causes(job)) <= {"first", "runpod_throttled"}


async def test_a_submit_whose_answer_is_lost_is_found_again_by_what_its_worker_left(
    jobs: Jobs, scripted_plane: RunningPlane, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_faults(scripted_plane, answers=[{"operation": "run", "status": None, "times": 1, "performed": True}])
    job = scripted_job("marked:4")
    genuine = RemoteJob._pause

    async def until_begun(remote: RemoteJob, end: End, waker: Waker) -> None:
        """Let the worker begin, which on a busy machine may take longer than the pause before the next attempt."""
        await await_until(lambda: store.head(keys_of(job).started(1, 1)), what="the worker has begun the job")
        await genuine(remote, end, waker)

    monkeypatch.setattr(RemoteJob, "_pause", until_begun)
    done = await jobs.run(job)
    assert (done.attempts, jobs.causes(job)) == (1, ["first"])
    assert jobs.claims(job)[0].job_id == done.receipt.job_id


async def test_a_job_that_outlived_its_time_on_runpod_is_told_from_one_that_was_lost(
    jobs: Jobs, store: ArtifactStore
) -> None:
    job = scripted_job("good")
    claim = dead_claim(job, job_id="expired-u1", life_seconds=60.0)
    store.put_json(keys_of(job).claim(1), claim, if_absent=True)
    await jobs.run(job)
    assert jobs.causes(job) == ["first", "runpod_job_expired"]


async def test_a_job_that_outlives_its_time_in_the_queue_is_told_with_the_settings_that_give_it_more(
    jobs: Jobs, store: ArtifactStore
) -> None:
    job = scripted_job("good")
    claim = dead_claim(job, job_id="expired-u1", life_seconds=60.0).model_copy(update={"task_id": "a-run"})
    store.put_json(keys_of(job).claim(1), claim, if_absent=True)
    with pytest.raises(JobError, match="raise RUNPOD_QUEUE_TIMEOUT") as caught:
        await jobs.run(job, max_attempts=1)
    assert caught.value.fault.code is FaultCode.RUNPOD_JOB_EXPIRED
    assert [entry.outcome for entry in jobs.account(job).executions] == ["runpod_job_expired"]


async def test_an_output_with_another_digest_is_no_result(jobs: Jobs, store: ArtifactStore) -> None:
    job = scripted_job("good")
    first = await jobs.run(job)
    store.put_stream(BytesIO(b"somebody else's pixels"), first.receipt.artifact.key, "video/mp4")
    again = await jobs.run(job, task_id="another-run")
    assert jobs.causes(job) == ["first", "object_corrupt"]
    assert again.paid_by == "another-run"


async def test_a_job_whose_outputs_are_always_changed_is_told_with_the_setting_of_the_bucket(
    jobs: Jobs, store: ArtifactStore
) -> None:
    job = scripted_job("swapped")
    with pytest.raises(JobError, match="R2_BUCKET") as caught:
        await jobs.run(job, max_attempts=2)
    assert caught.value.fault.code is FaultCode.OBJECT_CORRUPT
    assert not is_passing(caught.value)
    assert jobs.causes(job) == ["first", "object_corrupt"]
    assert store.read_json(keys_of(job).receipt, Receipt) is None


async def test_a_bucket_that_refuses_us_is_told_once_and_nothing_is_submitted(jobs: Jobs, r2: R2Settings) -> None:
    jobs.store = connect(r2.model_copy(update={"secret_access_key": SecretStr("wrong")}))
    with pytest.raises(StorageError, match="R2_ACCESS_KEY_ID") as caught:
        await jobs.run(scripted_job("good"))
    assert caught.value.fault.code is FaultCode.STORAGE_REFUSED
    assert not is_passing(caught.value)


async def test_without_a_bucket_nothing_is_submitted(jobs: Jobs, r2: R2Settings) -> None:
    dead = r2.model_copy(update={"endpoint": "http://127.0.0.1:1"})
    jobs.store = connect(dead, attempts=1, connect_seconds=0.5)
    with pytest.raises(StorageError) as caught:
        await jobs.run(scripted_job("good"))
    assert is_passing(caught.value)
    assert jobs.news == []


@pytest.mark.parametrize(("gpu_type", "bounds"), [("GTX 970", BudgetBounds()), ("", BudgetBounds(max_usd_per_day=5))])
async def test_a_gpu_without_a_price_is_told_before_anything_is_paid(
    jobs: Jobs, gpu_type: str, bounds: BudgetBounds
) -> None:
    at(jobs, gpu_type=gpu_type)
    jobs.bounds = bounds
    job = scripted_job("good")
    with pytest.raises(FaultError, match="RUNPOD_WAV2LIP_GPU") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.PRICE_UNKNOWN
    assert jobs.claims(job) == []
