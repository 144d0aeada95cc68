"""The cloud's failures, switched on one at a time. Each is what a client of the real service must survive."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.runpod.conftest import Hook
from tests.runpod.plane import EndpointClient, comes_true
from tests.waiting import await_until

pytestmark = pytest.mark.local_only


@pytest.fixture(autouse=True)
async def _begins_idle_and_leaves_no_faults(
    cooperative: EndpointClient, blocking: EndpointClient
) -> AsyncIterator[None]:
    """A fault is spent by whatever job comes first, so there must be no other."""
    for client in (cooperative, blocking):

        async def idle(client: EndpointClient = client) -> bool:
            jobs = (await client.get("health")).body["jobs"]
            return bool(jobs["inProgress"] == jobs["inQueue"] == 0)

        await comes_true(idle, what="no job is left")
    yield
    await cooperative.set_faults()
    await blocking.set_faults()


async def test_an_operation_answers_429_as_often_as_asked(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(answers=[{"operation": "run", "status": 429, "times": 2}])
    statuses = [(await cooperative.post("run", json={"input": {}})).status for _ in range(3)]
    assert statuses == [429, 429, 200]
    assert (await cooperative.ask("GET", f"local/faults/{cooperative.id}")).body["answers"] == []


async def test_one_operation_is_spoiled_and_the_others_are_not(cooperative: EndpointClient) -> None:
    job = await cooperative.run({})
    await cooperative.set_faults(answers=[{"operation": "status", "status": 502, "times": None}])
    assert [(await cooperative.get(f"status/{job}")).status for _ in range(2)] == [502, 502]
    assert (await cooperative.get("health")).status == 200
    await cooperative.set_faults()
    await cooperative.until(job, "COMPLETED")


async def test_a_submission_can_be_accepted_although_its_answer_is_an_error(
    cooperative: EndpointClient,
) -> None:
    before = (await cooperative.counters())["submitted"]
    await cooperative.set_faults(answers=[{"operation": "run", "status": 500, "performed": True}])
    assert (await cooperative.post("run", json={"input": {}})).status == 500
    assert (await cooperative.counters())["submitted"] == before + 1


async def test_a_refused_submission_leaves_no_job(cooperative: EndpointClient) -> None:
    before = (await cooperative.counters())["submitted"]
    await cooperative.set_faults(answers=[{"operation": "run", "status": 503}])
    assert (await cooperative.post("run", json={"input": {}})).status == 503
    assert (await cooperative.counters())["submitted"] == before


async def test_a_connection_can_be_cut_without_an_answer(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(answers=[{"operation": "health", "status": None, "times": None}])
    with pytest.raises(aiohttp.ClientConnectionError):
        await cooperative.get("health")


async def test_a_lost_result_makes_the_job_run_again(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(lost_results=1)
    done = await cooperative.until(await cooperative.run({"echo": "twice"}), "COMPLETED")
    assert (done["output"]["echo"], done["retries"]) == ("twice", 1)


async def test_a_lost_result_of_a_worker_with_one_job_at_a_time_is_noticed_at_its_next_take(
    blocking: EndpointClient,
) -> None:
    await blocking.set_faults(lost_results=1)
    done = await blocking.until(await blocking.run({"echo": "twice"}), "COMPLETED")
    assert (done["output"]["echo"], done["retries"]) == ("twice", 1)


async def test_a_job_can_complete_without_its_output(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(empty_results=1)
    assert "output" not in await cooperative.until(await cooperative.run({"echo": 1}), "COMPLETED")


async def test_a_webhook_can_be_dropped(cooperative: EndpointClient, hook: Hook) -> None:
    await cooperative.set_faults(dropped_webhooks=1)
    dropped = await cooperative.run({}, webhook=hook.url)
    await cooperative.until(dropped, "COMPLETED")
    delivered = await cooperative.run({}, webhook=hook.url)
    await await_until(lambda: hook.of(delivered), what="the second webhook is called")
    assert hook.of(dropped) == []


async def test_a_webhook_can_come_twice(cooperative: EndpointClient, hook: Hook) -> None:
    await cooperative.set_faults(doubled_webhooks=1)
    job = await cooperative.run({}, webhook=hook.url)
    await await_until(lambda: len(hook.of(job)) == 2, what="the webhook is called twice")
    assert hook.of(job)[0] == hook.of(job)[1]


async def test_a_result_can_expire_early(cooperative: EndpointClient) -> None:
    job = await cooperative.run({})
    await cooperative.until(job, "COMPLETED")
    await cooperative.set_faults(retention_seconds=0)
    await cooperative.until_gone(job)
    assert (await cooperative.post(f"retry/{job}")).status == 404


async def test_a_running_job_can_expire_early(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"seconds": 120})
    await cooperative.until(job, "IN_PROGRESS")
    await cooperative.set_faults(ttl_seconds=0)
    await cooperative.until_gone(job)

    async def let_go() -> bool:
        return all(job not in worker["jobs"] for worker in await cooperative.workers())

    await comes_true(let_go, what="the worker has been told to stop it")


async def test_without_capacity_jobs_wait_in_the_queue_until_it_is_back(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(no_capacity=True)
    job = await cooperative.run({})

    async def throttled() -> bool:
        health = (await cooperative.get("health")).body
        return bool(health["workers"]["ready"] == 0 and health["workers"]["throttled"] == 1)

    await comes_true(throttled, what="the workers are gone")
    assert (await cooperative.get(f"status/{job}")).body["status"] == "IN_QUEUE"
    await cooperative.set_faults()
    await cooperative.until(job, "COMPLETED")


async def test_a_cold_start_is_seen_as_an_initializing_worker(cooperative: EndpointClient) -> None:
    await cooperative.set_faults(no_capacity=True)

    async def workers_are_gone() -> bool:
        return await cooperative.workers() == []

    await comes_true(workers_are_gone, what="the workers are gone")
    await cooperative.set_faults(cold_start_seconds=600)

    async def initializing() -> bool:
        workers = (await cooperative.get("health")).body["workers"]
        return bool(workers["initializing"] == 1 and workers["ready"] == 0)

    await comes_true(initializing, what="a worker is initializing")
    (worker,) = await cooperative.workers()
    assert "pid" not in worker, "its process is not there yet"
    await cooperative.set_faults()
    await cooperative.until(await cooperative.run({}), "COMPLETED")


@pytest.mark.parametrize("faults", [{"unknown": 1}, {"lost_results": -1}, {"answers": [{"operation": "fly"}]}])
async def test_a_fault_that_does_not_exist_is_refused(cooperative: EndpointClient, faults: dict[str, object]) -> None:
    assert (await cooperative.ask("POST", f"local/faults/{cooperative.id}", json=faults)).status == 400


async def test_purging_more_often_than_documented_is_throttled(streaming: EndpointClient) -> None:
    before = (await streaming.counters())["throttled"]
    statuses = [(await streaming.post("purge-queue")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await streaming.counters())["throttled"] == before + 1
