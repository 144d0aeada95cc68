"""GET /status: pushed when it waits, rebuilt from Prefect when Redis has lost the record, signed on read."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Completed
from redis.asyncio import Redis

from gpu_tasks.contract.jobs import Stage
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, NOBODY, PREFIX, WAIT, Environment, settings_of, shim_thread
from tests.waiting import await_until

# Fixed: test processes side by side have to agree on the names of their tests.
NO_TASK = "7f2b3c1e-9a54-4d0e-8a3b-5c6d7e8f9a0b"


async def test_a_waiting_reader_gets_the_end_within_half_a_second(
    http: httpx.AsyncClient, body: dict[str, object], flow: PlayedFlow, redis: Redis
) -> None:
    took: list[float] = []
    # Other tests take the processor now and then; a reader who is not called would wait for longer each time.
    while len(took) < 3 or (min(took) >= 0.5 and len(took) < 10):
        task_id = (await http.post("/run", json=body)).json()["task_id"]
        waiting = asyncio.create_task(http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT}))
        await _until_subscribers(redis, f"{PREFIX}:events:{task_id}", 1)
        changed = time.monotonic()
        await flow.complete(task_id)
        answer = await waiting
        took.append(time.monotonic() - changed)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert min(took) < 0.5
    # Every one is pushed: whoever hears of it by reading again does so after ten seconds.
    assert max(took) < 5.0


async def test_a_change_that_is_no_end_does_not_end_the_waiting(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    # Longer than the change takes on a busy machine.
    waiting = asyncio.create_task(http.get(f"/status/{task_id}", params={"wait": "true", "timeout": "4"}))
    await flow.enter(task_id, Stage.WAV2LIP)
    answer = await waiting
    assert (answer.status_code, answer.json()["stage"]) == (504, "wav2lip")


async def test_a_reader_that_hangs_up_leaves_no_subscription_and_no_traceback(
    http: httpx.AsyncClient, task_id: str, redis: Redis, shim: tuple[str, Path]
) -> None:
    channel = f"{PREFIX}:events:{task_id}"
    # What else has happened to this shim is told above.
    before = len(await asyncio.to_thread(shim[1].read_text))
    waiting = asyncio.create_task(http.get(f"/status/{task_id}", params={"wait": "true"}))
    await _until_subscribers(redis, channel, 1)
    waiting.cancel()

    await _until_subscribers(redis, channel, 0)
    log = await asyncio.to_thread(shim[1].read_text)
    assert "Traceback" not in log[before:]


async def test_a_final_record_is_the_same_after_redis_was_flushed(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    await flow.leave_record(await flow.complete(task_id))
    await flow.set_state(task_id, Completed())
    before = (await http.get(f"/status/{task_id}")).json()
    await redis.flushall()
    after = (await http.get(f"/status/{task_id}")).json()
    assert _unsigned(after) == _unsigned(before)
    assert await redis.exists(f"{PREFIX}:{task_id}")
    assert await redis.ttl(f"{PREFIX}:{task_id}") > 0


async def test_a_running_task_is_still_known_after_redis_was_flushed(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    await flow.start(task_id)
    await redis.flushall()
    record = (await http.get(f"/status/{task_id}")).json()
    assert record["status"] == "running"
    assert record["request"]["target_key"] == "uploads/video/t.mp4"


async def test_urls_are_signed_on_read_and_never_stored(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    await flow.complete(task_id)
    result = (await http.get(f"/status/{task_id}")).json()["result"]
    assert "X-Amz-Signature" in result["presigned_url"]
    assert result["output_url"] == result["presigned_url"]
    assert "X-Amz-Signature" in result["intermediate"]["wav2lip"]["presigned_url"]
    assert "X-Amz-Signature" not in str(await redis.get(f"{PREFIX}:{task_id}"))


@pytest.mark.parametrize("unknown", [NO_TASK, "42", "x" * 3000, "%2e%2e", NO_TASK.upper(), NO_TASK.replace("-", "")])
async def test_an_unknown_or_malformed_task_id_is_404(http: httpx.AsyncClient, unknown: str) -> None:
    for answer in (await http.get(f"/status/{unknown}"), await http.post(f"/cancel/{unknown}")):
        assert answer.status_code == 404
        assert answer.json()["error"] == "task_unknown"


async def test_a_run_of_another_flow_is_no_task(http: httpx.AsyncClient, prefect: PrefectClient) -> None:
    flow_id = await prefect.create_flow_from_name("something-else")
    deployment_id = await prefect.create_deployment(flow_id=flow_id, name="other")
    run = await prefect.create_flow_run_from_deployment(deployment_id)
    assert (await http.get(f"/status/{run.id}")).status_code == 404


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "1e9"])
async def test_a_timeout_that_is_none_is_refused(http: httpx.AsyncClient, task_id: str, seconds: str) -> None:
    answer = await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": seconds})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(".")
    assert "timeout" in answer.json()["detail"]


async def test_without_redis_runs_are_accepted_and_records_come_from_prefect(
    environment: Environment, body: dict[str, object], flow: PlayedFlow
) -> None:
    settings = settings_of({**environment, "JOBSTORE_REDIS_URL": f"redis://{NOBODY}/0"})
    with shim_thread(settings) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            accepted = await http.post("/run", json=body)
            assert accepted.status_code == 202
            task_id = accepted.json()["task_id"]
            assert (await http.get(f"/status/{task_id}")).json()["status"] == "pending"
            waiting = asyncio.create_task(http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT}))
            await flow.start(task_id)
            await flow.set_state(task_id, Completed())
            assert (await waiting).json()["status"] == "failed"  # this flow left no result behind
            ready = await http.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (200, "degraded")


@pytest.mark.parametrize(
    ("variable", "address", "code"),
    [
        ("PREFECT_API_URL", f"http://{NOBODY}/api", "orchestrator_unavailable"),
        ("R2_ENDPOINT", f"http://{NOBODY}", "storage_unavailable"),
    ],
)
async def test_without_prefect_or_bucket_nothing_is_accepted_and_503_says_when_to_come_again(
    environment: Environment, body: dict[str, object], variable: str, address: str, code: str
) -> None:
    with shim_thread(settings_of({**environment, variable: address})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            answer = await http.post("/run", json=body)
            assert (answer.status_code, answer.json()["error"]) == (503, code)
            assert answer.json()["retryable"] is True
            assert int(answer.headers["Retry-After"]) > 0
            ready = await http.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "unready")


async def test_redis_serves_status_while_prefect_is_away(environment: Environment, task_id: str) -> None:
    with shim_thread(settings_of({**environment, "PREFECT_API_URL": f"http://{NOBODY}/api"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            assert (await http.get(f"/status/{task_id}")).json()["task_id"] == task_id


def _unsigned(record: dict[str, Any]) -> dict[str, Any]:
    result = dict(record["result"])
    for name in ("output_url", "presigned_url", "intermediate"):
        result.pop(name)
    return {**record, "result": result}


async def _subscribers(redis: Redis, channel: str) -> int:
    ((_, count),) = await redis.pubsub_numsub(channel)
    return int(count)


async def _until_subscribers(redis: Redis, channel: str, count: int) -> None:
    async def are_so_many() -> bool:
        return await _subscribers(redis, channel) == count

    look: Callable[[], Awaitable[bool | None]] = are_so_many
    seen: bool = await await_until(look, what=f"{count} readers listen")
    assert seen
