"""What the project relies on from a RunPod endpoint; runs on the local plane and could on the real service.

Nobody could try the real service yet. What is not even documented is marked `unverified`:

| point | assumed here |
|---|---|
| body over the limit | 400 (the listed codes are 400, 401, 404, 429, 500) |
| body of an unknown job's 404 | not looked at |
| policy out of its documented bounds | 400 |
| ?ttl on /status | counts from that call |
| a worker's second death | FAILED; the documented word is only "automatic retries" |
| a webhook for cancelled and purged jobs | delivered |
| purged jobs | CANCELLED afterwards |
| /retry | starts the ttl anew |
| 429 | by the documented limits alone, without their rise with the number of workers |
"""

from io import BytesIO

import pytest
from aiohttp import ClientSession

from tests.runpod.conftest import Hook, Target
from tests.runpod.plane import EndpointClient, comes_true
from tests.waiting import await_until

MEGABYTE = 1024 * 1024


async def test_a_job_is_queued_and_completes_with_its_output(cooperative: EndpointClient) -> None:
    submitted = await cooperative.post("run", json={"input": {"echo": [1, None, "ü"]}})
    assert submitted.body == {"id": submitted.body["id"], "status": "IN_QUEUE"}
    done = await cooperative.until(submitted.body["id"], "COMPLETED")
    assert done["output"]["echo"] == [1, None, "ü"]
    assert done["delayTime"] >= 0
    assert done["executionTime"] >= 0
    assert done["workerId"]


async def test_status_answers_get_and_post_alike(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"echo": 1})
    done = await cooperative.until(job, "COMPLETED")
    assert (await cooperative.post(f"status/{job}")).body == done


async def test_progress_shows_as_output_while_the_job_runs(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"steps": 2, "seconds": 120, "step_seconds": 0.2})

    async def second_step() -> bool:
        body = (await cooperative.get(f"status/{job}")).body
        return bool(body["status"] == "IN_PROGRESS" and body.get("output") == {"step": 2})

    await comes_true(second_step, what="the second step is seen")
    await cooperative.post(f"cancel/{job}")


async def test_an_exception_fails_the_job_with_its_text(cooperative: EndpointClient) -> None:
    failed = await cooperative.until(await cooperative.run({"raise": "no mouth found"}), "FAILED")
    assert "no mouth found" in failed["error"]


async def test_an_error_reply_fails_the_job_and_keeps_the_rest(cooperative: EndpointClient) -> None:
    failed = await cooperative.until(await cooperative.run({"error": "bad input"}), "FAILED")
    assert (failed["error"], failed["output"]) == ("bad input", {"kept": True})


async def test_runsync_waits_for_the_result(cooperative: EndpointClient) -> None:
    done = await cooperative.post("runsync", json={"input": {"echo": 7}})
    assert (done.body["status"], done.body["output"]["echo"]) == ("COMPLETED", 7)
    assert done.body["id"].startswith("sync-")


async def test_runsync_answers_with_an_unfinished_job_when_its_wait_is_over(cooperative: EndpointClient) -> None:
    answer = await cooperative.post("runsync?wait=1000", json={"input": {"seconds": 20}})
    assert answer.body["status"] in ("IN_QUEUE", "IN_PROGRESS")
    await cooperative.post(f"cancel/{answer.body['id']}")


async def test_a_queued_job_is_cancelled_and_never_starts(blocking: EndpointClient) -> None:
    running = await blocking.run({"seconds": 20})
    queued = await blocking.run({})
    cancelled = await blocking.post(f"cancel/{queued}")
    # Before anything is asserted: a service that differs here must not keep its worker busy for the next line.
    await blocking.post(f"cancel/{running}")
    assert cancelled.body == {"id": queued, "status": "CANCELLED"}
    assert "workerId" not in (await blocking.get(f"status/{queued}")).body


async def test_a_running_job_is_cancelled_at_once_for_its_client(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"seconds": 20})
    await cooperative.until(job, "IN_PROGRESS")
    assert (await cooperative.post(f"cancel/{job}")).body["status"] == "CANCELLED"
    assert (await cooperative.get(f"status/{job}")).body["status"] == "CANCELLED"


async def test_jobs_start_in_the_order_of_their_submission(blocking: EndpointClient) -> None:
    # Each lasts for longer than the second is submitted later: a wait is counted from its own job's submission.
    jobs = [await blocking.run({"echo": number, "seconds": 1}) for number in range(2)]
    views = [await blocking.until(job, "COMPLETED") for job in jobs]
    waits = [view["delayTime"] for view in views]
    assert waits == sorted(waits)


async def test_a_purge_empties_the_queue_and_spares_what_runs(blocking: EndpointClient) -> None:
    # For longer than the three and the purge take on a busy machine: none of them may begin before.
    running = await blocking.run({"seconds": 4, "echo": "spared"})
    await blocking.until(running, "IN_PROGRESS")
    for _ in range(3):
        await blocking.run({})
    assert (await blocking.post("purge-queue")).body == {"removed": 3, "status": "completed"}
    assert (await blocking.until(running, "COMPLETED"))["output"]["echo"] == "spared"


@pytest.mark.local_only
async def test_a_job_over_its_execution_timeout_is_timed_out_and_can_be_retried(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"seconds": 30}, policy={"executionTimeout": 300})
    await cooperative.until(job, "TIMED_OUT")
    assert (await cooperative.post(f"retry/{job}")).body == {"id": job, "status": "IN_QUEUE"}
    again = await cooperative.until(job, "TIMED_OUT")
    assert "output" not in again


async def test_only_a_failed_or_timed_out_job_can_be_retried(cooperative: EndpointClient) -> None:
    job = await cooperative.run({})
    await cooperative.until(job, "COMPLETED")
    assert (await cooperative.post(f"retry/{job}")).status == 400


async def test_a_failed_job_is_retried_under_the_same_id(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"raise": "again"})
    await cooperative.until(job, "FAILED")
    assert (await cooperative.post(f"retry/{job}")).body == {"id": job, "status": "IN_QUEUE"}
    await cooperative.until(job, "FAILED")


@pytest.mark.local_only
async def test_a_job_past_its_ttl_is_gone_even_while_it_runs(cooperative: EndpointClient) -> None:
    job = await cooperative.run({"seconds": 120}, policy={"ttl": 5000})
    await cooperative.until(job, "IN_PROGRESS")
    await cooperative.until_gone(job)


@pytest.mark.unverified
async def test_a_ttl_asked_with_a_status_takes_the_result_away(cooperative: EndpointClient) -> None:
    job = await cooperative.run({})
    await cooperative.until(job, "COMPLETED")
    assert (await cooperative.get(f"status/{job}?ttl=100")).status == 200
    await cooperative.until_gone(job)


async def test_a_stream_hands_out_every_chunk_once_and_in_order(streaming: EndpointClient) -> None:
    job = await streaming.run({"chunks": 4})
    await streaming.until(job, "COMPLETED")
    streamed = (await streaming.get(f"stream/{job}")).body
    chunks = [{"chunk": number} for number in range(4)]
    assert [one["output"] for one in streamed["stream"]] == chunks
    assert streamed["output"] == chunks
    assert (await streaming.get(f"stream/{job}")).body["stream"] == []


async def test_health_counts_jobs_and_workers(cooperative: EndpointClient) -> None:
    before = (await cooperative.get("health")).body
    await cooperative.until(await cooperative.run({}), "COMPLETED")
    after = (await cooperative.get("health")).body
    assert after["jobs"]["completed"] == before["jobs"]["completed"] + 1
    assert set(after["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert set(after["workers"]) >= {"idle", "initializing", "running", "throttled"}


async def test_an_unknown_job_is_not_found(cooperative: EndpointClient) -> None:
    assert (await cooperative.get("status/no-such-job")).status == 404
    assert (await cooperative.post("cancel/no-such-job")).status == 404


async def test_an_unknown_endpoint_is_not_found(http: ClientSession, target: Target) -> None:
    stranger = EndpointClient(http, target.base_url, "no-such-endpoint")
    assert (await stranger.post("run", json={"input": {}})).status == 404


async def test_a_job_of_one_endpoint_is_unknown_to_another(
    cooperative: EndpointClient, blocking: EndpointClient
) -> None:
    job = await cooperative.run({})
    assert (await blocking.get(f"status/{job}")).status == 404


@pytest.mark.parametrize("key", ["", "wrong", "Bearer wrong"])
async def test_a_wrong_key_is_refused(target: Target, key: str) -> None:
    async with ClientSession(headers={"Authorization": key}) as stranger:
        client = EndpointClient(stranger, target.base_url, target.endpoints["cooperative"])
        assert (await client.get("health")).status == 401
        assert (await client.post("run", json={"input": {}})).status == 401


async def test_the_bare_key_is_accepted_as_well(target: Target) -> None:
    async with ClientSession(headers={"Authorization": target.api_key}) as session:
        client = EndpointClient(session, target.base_url, target.endpoints["cooperative"])
        assert (await client.get("health")).status == 200


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"prompt": "no input"}'])
async def test_a_body_without_input_is_refused(cooperative: EndpointClient, body: bytes) -> None:
    assert (await cooperative.post("run", data=body)).status == 400


@pytest.mark.unverified
async def test_a_body_over_the_documented_size_is_refused(cooperative: EndpointClient) -> None:
    body = BytesIO(b'{"input": {"pad": "%s"}}' % (b"x" * (10 * MEGABYTE)))
    assert (await cooperative.post("run", data=body)).status == 400


async def test_a_body_of_nearly_ten_megabytes_reaches_the_worker(cooperative: EndpointClient) -> None:
    text = "x" * (9 * MEGABYTE)
    submitted = await cooperative.post("run", data=BytesIO(b'{"input": {"echo": "%s"}}' % text.encode()))
    done = await cooperative.until(submitted.body["id"], "COMPLETED")
    assert done["output"]["echo"] == text


@pytest.mark.local_only
@pytest.mark.unverified
async def test_a_policy_out_of_bounds_is_refused(cooperative: EndpointClient) -> None:
    answer = await cooperative.post("run", json={"input": {}, "policy": {"ttl": 1}})
    assert answer.status == 400
    assert "ttl" in answer.body["error"]


@pytest.mark.local_only
async def test_a_webhook_gets_the_body_of_status(cooperative: EndpointClient, hook: Hook) -> None:
    job = await cooperative.run({"echo": 3}, webhook=hook.url)
    done = await cooperative.until(job, "COMPLETED")
    assert await await_until(lambda: hook.of(job), what="the webhook is called")
    assert hook.of(job) == [done]


@pytest.mark.local_only
async def test_a_webhook_is_called_again_until_it_answers_200(cooperative: EndpointClient, hook: Hook) -> None:
    hook.answers = [500, 202]
    job = await cooperative.run({}, webhook=hook.url)
    assert await await_until(lambda: len(hook.of(job)) == 3, what="the third call comes")
    assert hook.answers == []


@pytest.mark.local_only
async def test_a_webhook_is_given_up_after_three_calls(cooperative: EndpointClient, hook: Hook) -> None:
    hook.answers = [500] * 4
    lost = (await cooperative.counters())["webhooks_lost"]
    job = await cooperative.run({}, webhook=hook.url)

    async def given_up() -> bool:
        return (await cooperative.counters())["webhooks_lost"] == lost + 1

    await comes_true(given_up, what="the delivery is given up")
    assert len(hook.of(job)) == 3
