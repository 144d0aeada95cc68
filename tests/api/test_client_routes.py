"""The client's calls beyond a run: pushes, lists, large files, webhooks."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Completed
from pydantic import SecretStr

from api_shim.async_client import AsyncClient
from api_shim.client import ApiError, ApiUnreachableError, Client, TaskQuery, WebhookVerificationError, verify_webhook
from api_shim.hearing import EventReader
from api_shim.large_files import announced
from api_shim.wire import DeliveryStatus, PartsRequest
from blocks import record_changes
from flows.request import PipelineRequest
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import Status
from gpu_tasks.contract.webhooks import WebhookEvent, delivery_of, signatures, signing_keys
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.proxy import Fate, proxied
from tests.api.shim import WEBHOOK_SECRET, Environment, settings_of, shim_thread

SECRET = SecretStr(WEBHOOK_SECRET)


@pytest.fixture
def asked(keys: dict[str, str]) -> PipelineRequest:
    return PipelineRequest(
        audio_key=keys["audio_key"], target_key=keys["target_key"], webhook_url="http://127.0.0.1:9/hook"
    )


async def test_records_are_pushed_to_both_clients(
    shim: tuple[str, Path], flow: PlayedFlow, asked: PipelineRequest
) -> None:
    async with AsyncClient(shim[0]) as client:
        task_id = (await client.run(asked)).task_id
        pushed: asyncio.Queue[str] = asyncio.Queue()

        def listen() -> list[str]:
            with Client(shim[0]) as listener:
                return [record.stage.value for record in listener.events(task_id)]

        async def hear() -> None:
            async for record in client.events(task_id):
                pushed.put_nowait(record.stage.value)

        other, hearing = asyncio.create_task(asyncio.to_thread(listen)), asyncio.create_task(hear())
        async with asyncio.timeout(60):
            assert await pushed.get() == "queued"
            await flow.enter(task_id, Stage.WAV2LIP)
            assert await pushed.get() == "wav2lip"
            last = await flow.complete(task_id)
            assert await pushed.get() == "completed"
            await hearing
            assert (await other)[-1] == "completed"
            assert [record async for record in client.events(task_id, seen=last.revision)] == []
        with pytest.raises(ApiError):
            await anext(client.events("x"))


async def test_following_goes_on_where_events_do_not_get_through(
    shim: tuple[str, Path], asked: PipelineRequest, flow: PlayedFlow
) -> None:
    held = 0

    def hold_events(request: bytes) -> Fate:
        nonlocal held
        if not request.startswith(b"GET /events/"):
            return Fate.PASSED
        held += 1
        return Fate.HELD

    with proxied(shim[0], hold_events) as url:
        async with AsyncClient(url, silence_seconds=0.2) as client:
            task_id = (await client.run(asked)).task_id
            stages = []
            async for record in client.follow(task_id, timeout=60):
                stages.append(record.stage.value)
                if len(stages) == 1:
                    await flow.complete(task_id)
    assert stages == ["queued", "completed"]
    assert held > 0


async def test_tasks_are_listed_repeated_and_deleted(
    shim: tuple[str, Path], flow: PlayedFlow, asked: PipelineRequest
) -> None:
    labels = {"client": f"{time.time_ns()}"}
    async with AsyncClient(shim[0]) as client:
        task_id = (await client.run(asked.model_copy(update={"labels": labels}))).task_id
        again = (await client.rerun(task_id, {"sync_mode": "bounce"})).task_id
        since = datetime.now(UTC) - timedelta(hours=1)
        page = await client.list_tasks(TaskQuery(labels=labels, created_after=since))
        assert [line.task_id for line in page.tasks] == [again, task_id]
        final = TaskQuery(labels=labels, statuses=(Status.COMPLETED, Status.FAILED))
        assert (await client.list_tasks(final)).tasks == ()
        with pytest.raises(ApiError) as going_on:
            await client.delete(task_id)
        assert going_on.value.fault.code is FaultCode.TASK_NOT_ENDED
        await client.cancel(task_id)
        assert (await client.delete(task_id)).task_id == task_id
        await flow.complete(again)
        delivery_id = await flow.announce(again)
        await flow.set_state(delivery_id, Completed())
    with Client(shim[0]) as other:
        (told,) = other.deliveries(again)
        assert (told.status, told.event) == (DeliveryStatus.DELIVERED, WebhookEvent.COMPLETED)
        assert other.replay(again, told.id).status is DeliveryStatus.PENDING
        assert [line.task_id for line in other.list_tasks(TaskQuery(labels=labels)).tasks] == [again]


def test_a_large_file_goes_in_parts_and_on_after_an_interruption(environment: Environment, tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    # What counts is that it begins as a video does.
    path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(range(256)) * 45_000)
    network = Network()
    with (
        proxied(environment["R2_ENDPOINT"], network.carry) as bucket,
        shim_thread(settings_of({**environment, "R2_ENDPOINT": bucket, "LIPSWAP_MAX_VIDEO_BYTES": str(10**8)})) as url,
        Client(url) as client,
    ):
        begun = client.begin_upload(announced(path, "video"))
        assert begun.part_count > 1
        network.parts_left = 1
        with pytest.raises(ApiUnreachableError):
            client.send_parts(path, begun)
        network.parts_left = None
        assert len(client.upload_parts(begun.upload_id, PartsRequest()).uploaded) == 1
        stored = client.send_parts(path, begun)
        assert stored.size == path.stat().st_size
        client.download(stored.key, tmp_path / "back.mp4")
    assert (tmp_path / "back.mp4").read_bytes() == path.read_bytes()


class Network:
    """Breaks after so many parts of an upload."""

    def __init__(self) -> None:
        self.parts_left: int | None = None

    def carry(self, request: bytes) -> Fate:
        if self.parts_left is None or not request.startswith(b"PUT "):
            return Fate.PASSED
        self.parts_left -= 1
        return Fate.PASSED if self.parts_left >= 0 else Fate.CUT


def _signed(**changes: Any) -> tuple[bytes, dict[str, str]]:  # noqa: ANN401  # headers
    now = datetime.now(UTC)
    record = record_changes.queued("7f2b", {"webhook_url": "https://example.com/"}, now=now)
    delivery = delivery_of(record_changes.completed(record, RESULT, now=now))
    assert delivery is not None
    body, timestamp = delivery.message.model_dump_json().encode(), int(time.time())
    signed = signatures(signing_keys(WEBHOOK_SECRET), delivery.id, timestamp, body)
    headers = {"Webhook-Id": delivery.id, "Webhook-Timestamp": str(timestamp), "Webhook-Signature": signed}
    return body, {**headers, **changes}


def test_a_webhook_is_verified() -> None:
    body, headers = _signed()
    message = verify_webhook(body, headers, SECRET)
    assert (message.type, message.data.task_id, message.data.result) == (WebhookEvent.COMPLETED, "7f2b", RESULT)


@pytest.mark.parametrize(
    "changes",
    [
        {"Webhook-Signature": "v1,AAAA"},
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "ü"},
        {"Webhook-Id": "msg_other"},
        {"Webhook-Timestamp": str(int(time.time()) - 3600)},
        {"Webhook-Timestamp": "soon"},
        {"Webhook-Timestamp": "9" * 5000},
    ],
)
def test_a_webhook_that_was_not_signed_so_is_not_believed(changes: dict[str, str]) -> None:
    body, headers = _signed(**changes)
    with pytest.raises(WebhookVerificationError):
        verify_webhook(body, headers, SECRET)


def test_a_webhook_whose_body_was_changed_is_not_believed() -> None:
    body, headers = _signed()
    changed = json.dumps({**json.loads(body), "type": "task.failed"}).encode()
    with pytest.raises(WebhookVerificationError, match="not signed"):
        verify_webhook(changed, headers, SECRET)


def test_events_that_nobody_knows_are_passed_over() -> None:
    reader = EventReader()
    lines = [": hello", "retry: 2000", "", "event: news", "data: {}", "", "event: record", "data: {}", ""]
    assert [heard for line in lines if (heard := reader.take(line))] == []
    assert reader.take("event: end") is None
    end = reader.take("")
    assert end is not None
    assert end.is_end
