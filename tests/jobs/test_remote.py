"""One GPU job on a real control plane with a real SDK worker: what is paid, what is not, and under which name."""

import asyncio
from io import BytesIO
from uuid import uuid4

import pytest
from aiohttp import web
from pydantic import SecretStr

from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobPolicy, JobStatus
from flows.errors import JobError
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import keys_of
from gpu_tasks.storage import ArtifactStore
from tests.jobs.scripted import Jobs, dead_claim, scripted_job, set_faults, until_working
from tests.runpod.plane import RunningPlane
from tests.waiting import await_until


async def until_a_guest_watches(jobs: Jobs) -> None:
    """Return when a run looks at a job that another one has submitted."""
    await await_until(lambda: any(not news.is_ours for news in jobs.news), what="a guest watches the owner's job")


async def test_a_job_is_claimed_submitted_and_done_once(jobs: Jobs) -> None:
    job = scripted_job("good")
    done = await jobs.run(job)
    assert (done.paid_by, done.attempts) == ("a-run", 1)
    assert jobs.causes(job) == ["first"]
    assert jobs.claims(job)[0].job_id == done.receipt.job_id
    assert jobs.news[-1].status is JobStatus.COMPLETED


async def test_a_finished_job_is_not_submitted_again(jobs: Jobs) -> None:
    job = scripted_job("good")
    first = await jobs.run(job)
    again = await jobs.run(job, task_id="another-run")
    assert again.receipt == first.receipt
    assert again.paid_by == "a-run"
    assert jobs.causes(job) == ["first"]


async def test_a_receipt_counts_although_the_reply_was_lost(jobs: Jobs) -> None:
    job = scripted_job("forgetful")
    assert (await jobs.run(job)).attempts == 1


async def test_completed_without_a_receipt_is_a_failure_and_tried_again(jobs: Jobs) -> None:
    job = scripted_job("pretend,good")
    assert (await jobs.run(job)).attempts == 2
    assert jobs.causes(job) == ["first", "result_missing"]


async def test_a_receipt_whose_object_is_gone_is_no_result(jobs: Jobs, store: ArtifactStore) -> None:
    job = scripted_job("good")
    first = await jobs.run(job)
    store.delete(first.receipt.artifact.key)
    again = await jobs.run(job, task_id="another-run")
    assert again.attempts == 2
    assert store.head(again.receipt.artifact.key) is not None


@pytest.mark.parametrize("crash", ["raise", "orphan"])
async def test_a_crashed_worker_costs_one_more_attempt_with_its_cause(jobs: Jobs, crash: str) -> None:
    job = scripted_job(f"{crash},good")
    assert (await jobs.run(job)).attempts == 2
    assert jobs.causes(job) == ["first", "runpod_job_failed"]


async def test_attempts_are_bounded_and_the_error_has_the_workers_log(jobs: Jobs) -> None:
    job = scripted_job("raise")
    with pytest.raises(JobError) as caught:
        await jobs.run(job, max_attempts=2)
    assert caught.value.fault.code is FaultCode.RUNPOD_JOB_FAILED
    assert any("fell off the bus" in line for line in caught.value.log_tail)
    assert "bus" not in caught.value.fault.detail
    assert len(jobs.claims(job)) == 2


async def test_a_fault_that_stays_is_not_paid_for_twice(jobs: Jobs) -> None:
    job = scripted_job("fault:no_face_detected")
    with pytest.raises(JobError) as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.NO_FACE_DETECTED
    assert caught.value.fault.stage == "wav2lip"
    assert caught.value.log_tail == ("a last line",)
    assert jobs.causes(job) == ["first"]


async def test_an_earlier_runs_failure_does_not_decide_a_new_run(jobs: Jobs) -> None:
    job = scripted_job("fault:model_missing,good")
    with pytest.raises(JobError):
        await jobs.run(job)
    assert (await jobs.run(job, task_id="after-the-repair")).attempts == 2
    assert jobs.causes(job) == ["first", "model_missing"]


async def test_two_runs_of_one_job_pay_once(jobs: Jobs) -> None:
    job = scripted_job("slow:1")
    one, two = await asyncio.gather(jobs.run(job, task_id="one"), jobs.run(job, task_id="two"))
    # What it cost is read off the ledger at two moments: whoever comes first knows the seconds from the receipt alone.
    assert (one.receipt, one.paid_by, one.attempts) == (two.receipt, two.paid_by, two.attempts)
    assert one.spent.keys() == two.spent.keys() == {one.paid_by}
    assert jobs.causes(job) == ["first"]


async def test_the_same_run_begun_anew_joins_its_own_job(jobs: Jobs) -> None:
    job = scripted_job("slow:2")
    before = asyncio.create_task(jobs.run(job))
    claim = await until_working(jobs, job)
    again = await jobs.run(job)
    assert again.receipt.job_id == claim.job_id
    assert (await before).receipt == again.receipt
    assert len(jobs.claims(job)) == 1


async def test_a_cancelled_run_stops_its_job(jobs: Jobs) -> None:
    job = scripted_job("slow:60")
    running = asyncio.create_task(jobs.run(job))
    claim = await until_working(jobs, job)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await jobs.status(claim) is JobStatus.CANCELLED


async def test_a_cancelled_run_leaves_another_runs_job_alone(jobs: Jobs, store: ArtifactStore) -> None:
    go_on = f"work/go-on/{uuid4()}"
    job = scripted_job(f"held:{go_on}")
    owner = asyncio.create_task(jobs.run(job, task_id="owner"))
    claim = await until_working(jobs, job)
    guest = asyncio.create_task(jobs.run(job, task_id="guest"))
    await until_a_guest_watches(jobs)
    guest.cancel()
    with pytest.raises(asyncio.CancelledError):
        await guest
    store.put_stream(BytesIO(b"go on"), go_on, "text/plain")
    assert (await owner).receipt.job_id == claim.job_id


async def test_who_waits_for_a_job_that_its_owner_cancels_makes_the_next_attempt(jobs: Jobs) -> None:
    job = scripted_job("slow:60,good")
    owner = asyncio.create_task(jobs.run(job, task_id="owner"))
    await until_working(jobs, job)
    guest = asyncio.create_task(jobs.run(job, task_id="guest"))
    await until_a_guest_watches(jobs)
    owner.cancel()
    assert (await guest).paid_by == "guest"
    assert len(jobs.claims(job)) == 2


async def test_an_intent_without_a_job_is_followed_by_the_next_attempt(jobs: Jobs, store: ArtifactStore) -> None:
    job = scripted_job("good")
    store.put_json(keys_of(job).claim(1), dead_claim(job, job_id=None), if_absent=True)
    assert (await jobs.run(job)).attempts == 2
    assert jobs.causes(job) == ["first", "intent_without_job"]


async def test_a_job_that_a_dead_run_had_submitted_without_writing_it_down_is_joined(
    jobs: Jobs, store: ArtifactStore
) -> None:
    job = scripted_job("marked:4")
    policy = JobPolicy(execution_seconds=60, life_seconds=300)
    job_id = await jobs.endpoint.client().submit("scripted", {"job": job.model_dump(mode="json")}, policy=policy)
    store.put_json(keys_of(job).claim(1), dead_claim(job, job_id=None), if_absent=True)
    await await_until(lambda: store.head(keys_of(job).started(1, 1)), what="a worker has begun the job")
    done = await jobs.run(job)
    assert (done.receipt.job_id, done.attempts, done.paid_by) == (job_id, 1, "a-dead-run")


async def test_a_job_that_runpod_runs_again_after_its_workers_death_is_paid_twice_with_a_name(jobs: Jobs) -> None:
    job = scripted_job("mortal")
    assert (await jobs.run(job)).attempts == 1
    assert [entry.cause for entry in jobs.account(job).worked] == ["first", "restarted_by_runpod"]


async def test_a_job_that_runpod_has_lost_is_followed_by_the_next_attempt(jobs: Jobs, store: ArtifactStore) -> None:
    job = scripted_job("good")
    store.put_json(keys_of(job).claim(1), dead_claim(job, job_id="forgotten-u1"), if_absent=True)
    assert (await jobs.run(job)).attempts == 2
    assert jobs.causes(job) == ["first", "job_lost"]


async def test_a_job_that_takes_too_long_is_stopped_and_said_so(jobs: Jobs) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"job_timeout_seconds": 1.5})
    job = scripted_job("slow:60")
    with pytest.raises(JobError) as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.RUNPOD_JOB_TIMEOUT
    assert await jobs.status(jobs.claims(job)[0]) is JobStatus.CANCELLED


async def test_a_waiter_that_is_woken_does_not_wait_for_its_interval(jobs: Jobs) -> None:
    changes = {"poll_interval_seconds": 120.0, "job_timeout_seconds": 600.0, "queue_timeout_seconds": 600.0}
    jobs.endpoint = jobs.endpoint.model_copy(update=changes)
    job = scripted_job("slow:0.5")
    began = asyncio.get_running_loop().time()
    running = asyncio.create_task(jobs.run(job))
    while not running.done():
        await asyncio.sleep(0.1)
        await jobs.job_store.wake(keys_of(job).fingerprint)
    # Half of the interval: a job of a moment does not take so long on any machine.
    assert asyncio.get_running_loop().time() - began < 60


async def test_runpod_is_told_whom_to_call_and_for_which_job(jobs: Jobs) -> None:
    called: list[str] = []

    async def wake(request: web.Request) -> web.Response:
        called.append(request.query["fingerprint"])
        await jobs.job_store.wake(request.query["fingerprint"])
        return web.Response()

    door = web.Application()
    door.router.add_post("/hooks/runpod/a-secret-of-the-tests", wake)
    runner = web.AppRunner(door)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = SecretStr(f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/runpod/a-secret-of-the-tests")
    jobs.endpoint = jobs.endpoint.model_copy(update={"webhook_url": url, "poll_interval_seconds": 30.0})
    job = scripted_job("slow:1")
    await jobs.run(job)
    await await_until(lambda: called, what="the plane has called")
    await runner.cleanup()
    assert set(called) == {keys_of(job).fingerprint}


@pytest.mark.parametrize("status", [429, 500])
async def test_outages_while_submitting_are_borne(jobs: Jobs, scripted_plane: RunningPlane, status: int) -> None:
    job = scripted_job("good")
    await set_faults(scripted_plane, answers=[{"operation": "run", "status": status, "times": 1}])
    assert (await jobs.run(job)).paid_by == "a-run"
    # Too many requests: certainly not queued. A server error: nobody knows, so the next attempt has a name.
    assert jobs.causes(job) == (["first"] if status == 429 else ["first", "submit_unclear"])


async def test_outages_while_waiting_are_borne(jobs: Jobs, scripted_plane: RunningPlane) -> None:
    job = scripted_job("slow:1")
    await set_faults(scripted_plane, answers=[{"operation": "status", "status": 500, "times": 5}])
    assert (await jobs.run(job)).attempts == 1


async def test_a_refused_key_is_told_at_once(jobs: Jobs) -> None:
    jobs.endpoint = RunPodEndpoint(api_base=jobs.endpoint.api_base, api_key=SecretStr("wrong"), endpoint_id="scripted")
    with pytest.raises(FaultError) as caught:
        await jobs.run(scripted_job("good"))
    assert caught.value.fault.code is FaultCode.RUNPOD_KEY_REFUSED
