"""Webhooks from the real worker to a real receiver, which verifies them with the public package."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from blocks import record_changes
from blocks.deliveries import create_delivery, replay
from gpu_tasks.contract.records import ResultRecord, TaskRecord
from gpu_tasks.contract.webhooks import Delivery, delivery_of
from tests.runs.orchestra import Orchestra, SharedWorker, deploy
from tests.runs.receiver import Receiver, receiving
from tests.waiting import await_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
RETRIES = "0.2,0.2"
RESULT = ResultRecord(
    output_key="outputs/result.mp4",
    duration_sec=2.0,
    bytes_uploaded=3,
    encoder="libx264",
    audio_merge="copied",
    sha256="0" * 64,
)


@pytest.fixture(scope="module")
def calling(environment: dict[str, str], shared_worker: SharedWorker) -> None:
    """The worker, where webhooks are signed, this machine may be called and patience is short."""
    webhooks = {
        "LIPSWAP_WEBHOOK_SECRET": SECRET,
        "LIPSWAP_WEBHOOK_LOOPBACK": "true",
        "LIPSWAP_WEBHOOK_RETRY_SECONDS": RETRIES,
    }
    deploy(environment, **webhooks)
    shared_worker.at_work()


@pytest.fixture
async def receiver(calling: None) -> AsyncIterator[Receiver]:  # noqa: ARG001  # it has to run
    async with receiving(SECRET) as running:
        yield running


def _delivery(task_id: str, url: str) -> Delivery:
    now = datetime.now(UTC)
    record = record_changes.queued(task_id, {"webhook_url": url, "labels": {"order": "17"}}, now=now)
    delivery = delivery_of(record_changes.completed(record, RESULT, now=now))
    assert delivery is not None
    return delivery


async def _ended(prefect: PrefectClient, run_id: UUID) -> FlowRun:
    async def is_over() -> FlowRun | None:
        run = await prefect.read_flow_run(run_id)
        return run if run.state_type in {StateType.COMPLETED, StateType.FAILED, StateType.CRASHED} else None

    look: Callable[[], Awaitable[FlowRun | None]] = is_over
    ended: FlowRun = await await_until(look, seconds=90, what="the delivery has ended")
    return ended


async def test_a_run_tells_its_start_and_why_it_failed(receiver: Receiver, orchestra: Orchestra) -> None:
    request = {
        "audio_key": "uploads/audio/nowhere.wav",
        "target_key": "uploads/video/nowhere.mp4",
        "webhook_url": receiver.url,
        "webhook_events": ["task.started", "task.failed"],
        "labels": {"order": "17"},
    }
    record: TaskRecord = await orchestra.run(request)
    assert await await_until(lambda: len(receiver.taken) >= 2, what="both are told")
    taken = receiver.taken
    messages: dict[str, Any] = {message["type"]: message for _, message, _ in taken}
    assert messages["task.started"]["data"]["status"] == "running"
    failed = messages["task.failed"]["data"]
    assert (failed["task_id"], failed["error"]["error"]) == (record.task_id, "object_missing")
    assert failed["labels"] == {"order": "17"}
    assert {webhook_id for webhook_id, _, _ in taken} == {
        f"msg_{record.task_id}_{end}" for end in ("started", "failed")
    }


async def test_a_receiver_that_is_down_for_a_while_is_told_later_with_a_url_signed_then(
    receiver: Receiver, prefect: PrefectClient
) -> None:
    receiver.answers = [503, 500]
    delivery = _delivery("5f0f4f3c-0000-4000-8000-000000000001", receiver.url)
    run = await create_delivery(prefect, delivery)
    ended = await _ended(prefect, run.id)
    assert (ended.state_type, ended.run_count) == (StateType.COMPLETED, 3)
    assert receiver.statuses(delivery.id) == [503, 500, 200]
    result = receiver.taken[-1][1]["data"]["result"]
    assert "X-Amz-Signature" in result["output_url"]
    assert "X-Amz-Signature" not in str(ended.parameters)
    assert SECRET not in str(ended.parameters)


async def test_what_was_never_taken_is_a_dead_letter_that_can_be_replayed(
    receiver: Receiver, prefect: PrefectClient
) -> None:
    receiver.answers = [500, 500, 500]
    delivery = _delivery("5f0f4f3c-0000-4000-8000-000000000002", receiver.url)
    run = await create_delivery(prefect, delivery)
    dead = await _ended(prefect, run.id)
    assert dead.state is not None
    assert dead.state_type is StateType.FAILED
    assert "status 500" in (dead.state.message or "")
    await replay(prefect, dead)

    async def is_delivered() -> bool:
        return (await prefect.read_flow_run(run.id)).state_type is StateType.COMPLETED

    look: Callable[[], Awaitable[bool | None]] = is_delivered
    seen: bool = await await_until(look, what="the replay is delivered")
    assert seen
    assert receiver.statuses(delivery.id) == [500, 500, 500, 200]


@pytest.mark.parametrize(("answer", "reason"), [(302, "redirect"), (410, "410")])
async def test_a_redirect_is_not_followed_and_gone_is_the_end(
    receiver: Receiver, prefect: PrefectClient, answer: int, reason: str
) -> None:
    receiver.answers = [answer] * 3
    receiver.headers = {"Location": receiver.url}
    delivery = _delivery(f"5f0f4f3c-0000-4000-8000-000000000{answer}", receiver.url)
    ended = await _ended(prefect, (await create_delivery(prefect, delivery)).id)
    assert ended.state is not None
    assert (ended.state_type, reason in (ended.state.message or "")) == (StateType.FAILED, True)
    assert receiver.statuses(delivery.id) == [answer] * (1 if answer == 410 else 3)


async def test_an_address_of_the_inner_network_is_never_called(calling: None, prefect: PrefectClient) -> None:  # noqa: ARG001  # it has to run
    delivery = _delivery("5f0f4f3c-0000-4000-8000-000000000009", "https://169.254.169.254/latest/meta-data")
    ended = await _ended(prefect, (await create_delivery(prefect, delivery)).id)
    assert ended.state is not None
    assert (ended.state_type, ended.run_count) == (StateType.FAILED, 1)
    assert "public" in (ended.state.message or "")


async def test_an_end_that_is_told_twice_is_delivered_once(receiver: Receiver, prefect: PrefectClient) -> None:
    delivery = _delivery("5f0f4f3c-0000-4000-8000-000000000010", receiver.url)
    runs = await asyncio.gather(*(create_delivery(prefect, delivery) for _ in range(3)))
    await _ended(prefect, runs[0].id)
    assert receiver.statuses(delivery.id) == [200]
