"""The mirror: what a flow cannot write about itself appears in its record all the same."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.states import Cancelled, Crashed, Failed, Late
from redis.asyncio import Redis

from api_shim.rebuild import GRACE
from deployments.local.services import ServiceName
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from tests.api.orchestra import PlayedFlow
from tests.api.shim import PREFIX, WAIT
from tests.servers import RunningStack
from tests.waiting import await_until


async def test_a_crashed_run_becomes_a_failed_record_that_is_pushed(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    await flow.start(task_id)
    await flow.enter(task_id, Stage.WAV2LIP)
    waiting = asyncio.create_task(http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT}))
    await flow.set_state(task_id, Crashed(message="Traceback: /home/somebody/secret.py"))
    record = (await waiting).json()
    assert record["status"] == "failed"
    assert (record["error"]["error"], record["error"]["stage"]) == ("internal", "wav2lip")
    assert record["error"]["retryable"] is True
    assert "secret.py" not in str(record)


async def test_a_flow_that_failed_without_a_word_becomes_a_failed_record(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    await flow.start(task_id)
    await flow.set_state(task_id, Failed())
    record = (await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})).json()
    assert (record["status"], record["error"]["error"]) == ("failed", "internal")


async def test_a_crash_that_nobody_mirrored_is_found_when_the_stale_record_is_read(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    await flow.start(task_id)
    stale = await flow.enter(task_id, Stage.WAV2LIP)
    await flow.set_state(task_id, Crashed())
    await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})
    long_ago = stale.model_copy(update={"updated_at": datetime.now(UTC) - timedelta(minutes=2)})
    await redis.set(f"{PREFIX}:{task_id}", long_ago.model_dump_json())
    assert (await http.get(f"/status/{task_id}")).json()["status"] == "failed"


async def test_the_flow_has_a_moment_to_say_itself_why_it_failed(
    http: httpx.AsyncClient, body: dict[str, object], flow: PlayedFlow
) -> None:
    # On a busy machine the moment may be over before anybody has looked and it has said so.
    for _ in range(10):
        task_id = (await http.post("/run", json=body)).json()["task_id"]
        await flow.start(task_id)
        failed_at = datetime.now(UTC)
        await flow.set_state(task_id, Failed())
        seen = (await http.get(f"/status/{task_id}")).json()["status"]
        await flow.fail(task_id, FaultCode.NO_FACE_DETECTED)
        if datetime.now(UTC) - failed_at < GRACE:
            break
    else:
        pytest.fail(f"no look and word within {GRACE}")
    assert seen in {"pending", "running"}
    assert await _crashed_after(http, flow) == "failed"
    assert (await http.get(f"/status/{task_id}")).json()["error"]["error"] == "no_face_detected"


async def test_a_run_that_an_operator_cancels_in_prefect_becomes_a_cancelled_record(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    await flow.set_state(task_id, Cancelled())
    record = (await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})).json()
    assert (record["status"], record["stage"]) == ("cancelled", "cancelled")


async def test_a_late_run_says_since_when_it_waits(http: httpx.AsyncClient, task_id: str, flow: PlayedFlow) -> None:
    await flow.set_state(task_id, Late())

    async def says_so() -> bool:
        return "late_since" in (await http.get(f"/status/{task_id}")).json()["details"]

    look: Callable[[], Awaitable[bool | None]] = says_so
    seen: bool = await await_until(look, what="the record says that the run is late")
    assert seen
    assert (await http.get(f"/status/{task_id}")).json()["status"] == "pending"


async def test_an_end_is_never_replaced_by_a_later_state(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    await flow.start(task_id)
    await flow.complete(task_id)
    await flow.set_state(task_id, Crashed())
    other = await _crashed_after(http, flow)
    assert other == "failed"
    assert (await http.get(f"/status/{task_id}")).json()["status"] == "completed"


async def _crashed_after(http: httpx.AsyncClient, flow: PlayedFlow) -> str:
    """Crash another task and wait for its record: the events before it have then been taken, too."""
    body = {"audio_key": "uploads/audio/a.wav", "target_key": "uploads/video/t.mp4"}
    task_id = (await http.post("/run", json=body)).json()["task_id"]
    await flow.start(task_id)
    await flow.set_state(task_id, Crashed())
    answer = await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})
    return str(answer.json()["status"])


@pytest.mark.parametrize("service", [ServiceName.VALKEY])
async def test_the_mirror_writes_again_after_redis_was_killed(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, stack: RunningStack, service: ServiceName
) -> None:
    await asyncio.to_thread(stack.kill, service)
    await asyncio.to_thread(stack.until_ready, service)
    await flow.start(task_id)
    await flow.set_state(task_id, Crashed())
    record = (await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})).json()
    assert record["status"] == "failed"
