"""What is paid for once, what is counted, and what is stopped before it is overspent."""

import asyncio
import json
import math
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from blocks.bounds import BudgetBounds
from blocks.job_store import JobStore
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobStatus
from flows.budget import booked_on
from flows.errors import JobError
from flows.order import Order
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob, keys_of
from gpu_tasks.contract.receipts import AttemptEnd
from gpu_tasks.storage import ArtifactStore
from tests.command_line.terminal import typed
from tests.jobs.scripted import Jobs, scripted_job, until_working
from tests.runpod.plane import API_KEY, RunningPlane, comes_true

BURST = 20
# What an attempt at one frame may take at most where nothing else limits it, and so what is reserved for it.
MOST = 120.5


@pytest.fixture
def jobs(scripted: RunPodEndpoint, store: ArtifactStore, job_store: JobStore) -> Jobs:
    """With time enough for the longest execution."""
    return Jobs(
        scripted.model_copy(update={"job_timeout_seconds": 600.0, "queue_timeout_seconds": 100.0}), store, job_store
    )


async def submitted(plane: RunningPlane) -> int:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {API_KEY}"}, timeout=60) as http:
        answer = await http.get(f"{plane.base_url}/local/counters")
    return int(answer.raise_for_status().json()["endpoints"]["scripted"]["submitted"])


def swap_of(job: Wav2LipJob) -> FaceFusionJob:
    """A face swap with the same script."""
    shared = job.model_dump(include={"engine", "model_revisions", "target", "timeline"})
    return FaceFusionJob(**shared, sources=(job.target,))


async def test_twenty_identical_requests_at_once_cost_one_job_per_stage(
    jobs: Jobs, scripted_plane: RunningPlane
) -> None:
    lips = scripted_job("slow:1")
    swap = swap_of(lips)
    before = await submitted(scripted_plane)

    async def request(number: int) -> tuple[str, str]:
        synced = await jobs.run(lips, task_id=f"run-{number}")
        swapped = await jobs.run(swap, task_id=f"run-{number}")
        return synced.receipt.job_id, swapped.receipt.job_id

    done = await asyncio.gather(*(request(number) for number in range(BURST)))
    assert len(set(done)) == 1
    assert await submitted(scripted_plane) == before + 2
    assert jobs.causes(lips) == jobs.causes(swap) == ["first"]


async def test_an_execution_that_died_is_paid_for_and_named(jobs: Jobs) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"gpu_type": "4090 PRO"})
    job = scripted_job("raise,good")
    done = await jobs.run(job)
    first, second = jobs.account(job).worked
    assert (first.outcome, second.outcome, second.cause) == ("runpod_job_failed", "completed", "runpod_job_failed")
    assert first.gpu_seconds > 0
    # Each execution is billed for every second that it has begun.
    billed = math.ceil(first.gpu_seconds) + math.ceil(second.gpu_seconds)
    assert done.spent["a-run"].usd == pytest.approx(billed * 0.00031)
    assert done.spent["a-run"].gpu_seconds == pytest.approx(first.gpu_seconds + second.gpu_seconds)
    assert jobs.charged[-1].spent("a-run") == done.spent["a-run"]


async def test_a_cancelled_execution_is_paid_for_and_known_to_have_stopped(jobs: Jobs) -> None:
    job = scripted_job("slow:60")
    running = asyncio.create_task(jobs.run(job))
    await until_working(jobs, job)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (execution,) = jobs.account(job).executions
    assert execution.outcome == "cancelled"
    assert execution.gpu_seconds > 0
    assert jobs.charged[-1].spent("a-run").gpu_seconds == execution.gpu_seconds
    assert (jobs.news[-1].status, jobs.news[-1].is_stopped) == (JobStatus.CANCELLED, True)


async def test_a_runs_budget_is_asked_before_every_submit(jobs: Jobs) -> None:
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_run=MOST - 1)
    job = scripted_job("good")
    with pytest.raises(FaultError, match=r"LIPSWAP_MAX_GPU_SECONDS_PER_RUN is 119\.5") as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.BUDGET_EXCEEDED
    assert jobs.claims(job) == []


async def test_what_was_spent_leaves_less_for_the_next_attempt(jobs: Jobs) -> None:
    # The first attempt takes part of a second of the one that is left above the most that an attempt may take.
    jobs.bounds = BudgetBounds(max_usd_per_run=(MOST + 0.001) * 0.00031)
    jobs.endpoint = jobs.endpoint.model_copy(update={"gpu_type": "4090 PRO"})
    job = scripted_job("raise,good")
    with pytest.raises(FaultError, match="LIPSWAP_MAX_USD_PER_RUN"):
        await jobs.run(job)
    assert len(jobs.claims(job)) == 1


@pytest.fixture
async def this_day() -> None:
    """A day that does not end while its money is counted."""
    now = datetime.now(UTC)
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), UTC)
    if (left := (tomorrow - now).total_seconds()) < 60:
        await asyncio.sleep(left + 1)


@pytest.fixture
def own_day(jobs: Jobs, this_day: None) -> Jobs:  # noqa: ARG001  # comes before
    """Jobs whose day is counted in a place of its own, from the ledger of all."""
    jobs.job_store = JobStore(redis_url=jobs.job_store.redis_url, prefix=f"test:{uuid4()}")
    return jobs


def booked_today(store: ArtifactStore, *, with_open: bool) -> float:
    """Seconds that the ledger has booked for today; what is open counts by the most that it may take."""
    booked = booked_on(store, datetime.now(UTC).date()).values()
    return sum(one.amount.seconds for one in booked if with_open or not one.is_open)


async def test_a_days_budget_waits_for_what_is_reserved_and_not_for_what_is_spent(
    own_day: Jobs, store: ArtifactStore
) -> None:
    jobs = own_day
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_day=booked_today(store, with_open=True) + MOST + 20)
    long, short = scripted_job("slow:3"), scripted_job("good")
    first = asyncio.create_task(jobs.run(long, task_id="first"))
    await until_working(jobs, long)
    second = await jobs.run(short, task_id="second")
    await first
    assert second.paid_by == "second"
    # Two reservations at once were too much: the second waited until the first had shown what it really took.
    end = store.read_json(keys_of(long).ended(1), AttemptEnd)
    assert end is not None
    assert end.ended_at <= jobs.claims(short)[0].claimed_at
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_day=booked_today(store, with_open=False) + MOST - 1)
    with pytest.raises(FaultError, match="LIPSWAP_MAX_GPU_SECONDS_PER_DAY"):
        await jobs.run(scripted_job("good"), task_id="third")


async def test_a_day_that_redis_has_lost_is_counted_again_from_the_ledger(own_day: Jobs, store: ArtifactStore) -> None:
    jobs = own_day
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_day=booked_today(store, with_open=True) + MOST + 20)
    job = scripted_job("slow:1")
    await jobs.run(job)
    key = f"{jobs.job_store.prefix}:spent:{datetime.now(UTC).date()}"
    async with jobs.job_store.commands() as redis:
        await redis.delete(key)
        await jobs.run(scripted_job("good"))
        entry = await redis.hget(key, f"wav2lip/{keys_of(job).fingerprint}/1")
    assert entry is not None
    kind, seconds, _ = (entry.decode() if isinstance(entry, bytes) else entry).split()
    assert kind == "done"
    assert float(seconds) == pytest.approx(jobs.account(job).spent().gpu_seconds)


@pytest.mark.usefixtures("this_day")
async def test_without_redis_the_ledger_alone_keeps_the_days_budget(jobs: Jobs, store: ArtifactStore) -> None:
    jobs.job_store = JobStore(redis_url=SecretStr("redis://127.0.0.1:1"))
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_day=booked_today(store, with_open=False) + MOST - 1)
    with pytest.raises(FaultError, match="LIPSWAP_MAX_GPU_SECONDS_PER_DAY"):
        await jobs.run(scripted_job("good"))
    jobs.bounds = BudgetBounds(max_gpu_seconds_per_day=booked_today(store, with_open=True) + MOST + 20)
    assert (await jobs.run(scripted_job("good"))).attempts == 1


async def test_a_limit_of_jobs_is_kept_and_a_higher_priority_goes_first(own_day: Jobs) -> None:
    jobs = own_day
    jobs.endpoint = jobs.endpoint.model_copy(update={"max_jobs": 1})
    holder, early, urgent = scripted_job("slow:60"), scripted_job("good"), scripted_job("good")
    first = asyncio.create_task(jobs.run(holder, task_id="holder"))
    await until_working(jobs, holder)
    line = f"{jobs.job_store.prefix}:slots:scripted:line"

    async def standing(count: int) -> None:
        async def stand() -> bool:
            async with jobs.job_store.commands() as redis:
                return bool(await redis.zcard(line) == count)

        await comes_true(stand, what=f"{count} stand in line")

    second = asyncio.create_task(jobs.run(early, task_id="early"))
    await standing(1)
    jobs.order = Order(priority=5)
    third = asyncio.create_task(jobs.run(urgent, task_id="urgent"))
    await standing(2)
    assert jobs.claims(early) == jobs.claims(urgent) == []
    first.cancel()
    await asyncio.gather(second, third)
    assert jobs.claims(urgent)[0].claimed_at < jobs.claims(early)[0].claimed_at


async def test_a_deadline_stops_the_job_and_is_what_runpod_is_told(jobs: Jobs) -> None:
    jobs.order = Order(deadline=datetime.now(UTC) + timedelta(seconds=12))
    job = scripted_job("slow:60")
    with pytest.raises(JobError) as caught:
        await jobs.run(job)
    assert caught.value.fault.code is FaultCode.DEADLINE_EXCEEDED
    (claim,) = jobs.claims(job)
    assert claim.execution_seconds is not None
    # RunPod takes none below five seconds.
    assert 5 <= claim.execution_seconds <= 12
    # Both clocks end in the same moment, and where we are late RunPod's own is first.
    assert await jobs.status(claim) in {JobStatus.CANCELLED, JobStatus.TIMED_OUT}
    with pytest.raises(JobError):
        await jobs.run(scripted_job("good"))


async def test_the_command_line_lists_executions_with_cause_and_cost(
    jobs: Jobs, bucket: dict[str, str], tmp_path: Path
) -> None:
    job = scripted_job("raise,good")
    await jobs.run(job, task_id="a-listed-run")
    asked = ("ledger", "--task", "a-listed-run", "--since", "1h")
    table, told = await asyncio.gather(
        asyncio.to_thread(typed, tmp_path, *asked, **bucket),
        asyncio.to_thread(typed, tmp_path, *asked, "--json", **bucket),
    )
    assert table.returncode == told.returncode == 0, table.stderr + told.stderr
    answer = json.loads(told.stdout)
    (account,) = answer["jobs"]
    assert account["fingerprint"] == keys_of(job).fingerprint
    assert [entry["cause"] for entry in account["executions"]] == ["first", "runpod_job_failed"]
    assert answer["gpu_seconds"] == pytest.approx(sum(entry["gpu_seconds"] for entry in account["executions"]))
    assert answer["usd"] is None
    assert "runpod_job_failed" in table.stdout
    assert keys_of(job).fingerprint[:12] in table.stdout
    assert "2 executions, 1 of them again" in table.stderr
