"""The mirror on a real Redis server: many writers, watchers, wake-ups, and no server at all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from blocks import record_changes
from blocks.connections import close_shared
from blocks.endpoint_health import EndpointHealth, EndpointReading
from blocks.job_store import READING_SECONDS, JobStore, JobStoreError, parse_record
from deployments.local.addresses import StackAddresses
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.records import ErrorRecord, Status, TaskRecord
from tests.servers import valkey_server
from tests.waiting import PATIENCE_SECONDS, await_until

__all__ = ["valkey_server"]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def store(valkey_server: StackAddresses) -> AsyncIterator[JobStore]:
    yield JobStore(redis_url=valkey_server.redis_url, ttl_seconds=100)
    await close_shared()


@pytest.fixture
async def task_id(store: JobStore) -> str:
    """A queued record."""
    name = str(uuid4())
    await store.change(name, lambda _: record_changes.queued(name, {"target_key": "uploads/t.mp4"}, now=now()))
    return name


async def test_a_record_that_nobody_wrote_is_none(store: JobStore) -> None:
    assert await store.read("nobody") is None


async def test_any_client_reads_the_record_as_json_with_an_age_limit(
    store: JobStore, task_id: str, valkey_server: StackAddresses
) -> None:
    async with Redis.from_url(valkey_server.redis_url.get_secret_value()) as other:
        stored = await other.get(f"ff:task:{task_id}")
        left = await other.ttl(f"ff:task:{task_id}")
    assert stored is not None
    assert b'"state":"pending"' in (stored if isinstance(stored, bytes) else stored.encode())
    assert parse_record(stored) == await store.read(task_id)
    assert 90 < left <= 100


async def test_of_32_writers_none_loses_its_change(store: JobStore, task_id: str) -> None:
    async def write(number: int) -> None:
        await store.change(task_id, lambda record: note(record, {f"writer {number}": number}))

    await asyncio.gather(*(write(number) for number in range(32)))
    record = await store.read(task_id)
    assert record is not None
    assert len(record.details) == 32
    assert record.revision == 33


async def test_a_final_record_outlives_every_late_writer(store: JobStore, task_id: str) -> None:
    async def write(number: int) -> None:
        await store.change(task_id, lambda record: note(record, {f"late {number}": number}))

    async def end() -> None:
        await store.change(task_id, lambda record: record_changes.cancelled(present(record), now=now()))

    await asyncio.gather(*(write(number) for number in range(8)), end(), *(write(number) for number in range(8, 16)))
    before = await store.read(task_id)
    await write(99)
    after = await store.change(
        task_id,
        lambda record: record_changes.failed(
            present(record), ErrorRecord(error=FaultCode.INTERNAL, detail="Late."), now=now()
        ),
    )
    assert before is not None
    assert before.status is Status.CANCELLED
    assert after == before


async def test_a_change_that_changes_nothing_is_not_written(store: JobStore, task_id: str) -> None:
    before = await store.read(task_id)
    assert await store.change(task_id, lambda record: record) == before
    assert await store.change(task_id, lambda _: None) == before


async def test_a_watcher_sees_the_present_the_news_and_the_end(store: JobStore, task_id: str) -> None:
    seen: list[TaskRecord] = []
    began = asyncio.Event()

    async def watch() -> None:
        async for record in store.watch(task_id):
            seen.append(record)
            began.set()

    watching = asyncio.create_task(watch())
    await asyncio.wait_for(began.wait(), PATIENCE_SECONDS)
    await store.change(task_id, lambda record: record_changes.cancelled(present(record), now=now()))
    await asyncio.wait_for(watching, PATIENCE_SECONDS)
    assert [record.status for record in seen] == [Status.PENDING, Status.CANCELLED]


async def test_a_waiter_is_woken_by_its_fingerprint_only(store: JobStore) -> None:
    async with store.woken("a") as waker:
        await store.wake("b")
        assert not await waker.wait(0.2)
        await store.wake("a")
        assert await waker.wait(PATIENCE_SECONDS)


async def test_all_waiters_of_a_process_share_one_connection_and_each_hears_its_name(
    store: JobStore, valkey_server: StackAddresses
) -> None:
    async with AsyncExitStack() as stack:
        wakers = [await stack.enter_async_context(store.woken(f"job-{number}")) for number in range(50)]
        async with Redis.from_url(valkey_server.redis_url.get_secret_value()) as other:

            async def one_listens() -> bool:
                return len([client for client in await other.client_list() if client["psub"] != "0"]) == 1

            # The server may not have heard yet that the one of the test before has gone.
            is_one: bool = await await_until(one_listens, what="one connection listens")
        assert is_one
        await store.wake("job-7")
        assert await wakers[7].wait(PATIENCE_SECONDS)
        assert not await wakers[8].wait(0)


async def test_what_was_found_at_an_endpoint_is_left_for_others_for_a_while(store: JobStore) -> None:
    assert await store.endpoint_health("lips") is None
    reading = EndpointReading.of("lips", EndpointHealth(jobs={"inQueue": 1}), now=now())
    await store.note_endpoint_health(reading)
    assert await store.endpoint_health("lips") == reading
    async with store.commands() as redis:
        assert 0 < await redis.ttl("ff:task:endpoint:lips") <= READING_SECONDS


async def test_without_redis_reading_fails_with_a_code_and_waiting_only_lets_time_pass() -> None:
    store = JobStore(redis_url=SecretStr("redis://127.0.0.1:1"))
    with pytest.raises(JobStoreError) as caught:
        await store.read("anything")
    assert caught.value.fault.code is FaultCode.ORCHESTRATOR_UNAVAILABLE
    began = asyncio.get_running_loop().time()
    async with store.woken("a") as waker:
        assert not await waker.wait(0.3)
    assert asyncio.get_running_loop().time() - began >= 0.3
    await close_shared()


async def test_something_else_under_the_key_is_said_so(store: JobStore, valkey_server: StackAddresses) -> None:
    async with Redis.from_url(valkey_server.redis_url.get_secret_value()) as other:
        await other.set("ff:task:odd", "no record")
    with pytest.raises(JobStoreError):
        await store.read("odd")


def present(record: TaskRecord | None) -> TaskRecord:
    assert record is not None
    return record


def note(record: TaskRecord | None, details: dict[str, object]) -> TaskRecord:
    return record_changes.noted(present(record), now=now(), details=details)
