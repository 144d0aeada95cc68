"""GET /events: every change as it happens, to many listeners over one subscription."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from api_shim.api_keys import KeyRing, Scope
from api_shim.watching import Watched
from blocks import record_changes
from blocks.job_store import JobStore
from deployments.local.services import ServiceName
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.storage import ArtifactStore
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.shim import ANSWER_SECONDS, NOBODY, PREFIX, Environment, settings_of, shim_thread
from tests.servers import RunningStack
from tests.waiting import PATIENCE_SECONDS, await_until

NO_TASK = "7f2b3c1e-9a54-4d0e-8a3b-5c6d7e8f9a0b"


class Told(NamedTuple):
    name: str
    revision: int
    data: dict[str, Any]


class Listener:
    """One open stream."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.heartbeats = 0

    async def next(self) -> Told:
        """The next event; the connection's end fails."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                if line.startswith(":"):
                    self.heartbeats += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    return Told(fields["event"], int(fields["id"]), json.loads(fields["data"]))
        raise AssertionError("the stream has ended")

    async def ends(self) -> bool:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return [line async for line in self._lines if line] == []


@asynccontextmanager
async def listening(http: httpx.AsyncClient, task_id: str, seen: int | None = None) -> AsyncIterator[Listener]:
    headers = {} if seen is None else {"Last-Event-ID": str(seen)}
    async with http.stream("GET", f"/events/{task_id}", headers=headers, timeout=ANSWER_SECONDS) as answer:
        assert answer.status_code == httpx.codes.OK, await answer.aread()
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        yield Listener(answer)


async def test_a_listener_gets_the_record_every_change_and_the_end(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    async with listening(http, task_id) as listener:
        first = await listener.next()
        assert (first.name, first.data["status"], first.revision) == ("record", "pending", first.data["revision"])
        await flow.enter(task_id, Stage.WAV2LIP)
        assert (await listener.next()).data["stage"] == "wav2lip"
        await flow.complete(task_id)
        last = await listener.next()
        assert last.data["status"] == "completed"
        assert "X-Amz-Signature" in last.data["result"]["output_url"]
        end = await listener.next()
        assert (end.name, end.revision, end.data["status"]) == ("end", last.revision, "completed")
        assert await listener.ends()
    status = (await http.get(f"/status/{task_id}")).json()
    assert status.keys() == last.data.keys()
    assert status["progress"] == last.data["progress"]


async def test_a_listener_that_comes_back_goes_on_where_it_was(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    seen = (await flow.enter(task_id, Stage.WAV2LIP)).revision
    async with listening(http, task_id, seen) as listener:
        await flow.enter(task_id, Stage.FACEFUSION)
        assert (await listener.next()).data["stage"] == "facefusion"
    final = await flow.complete(task_id)
    async with listening(http, task_id, final.revision) as listener:
        assert (await listener.next()).name == "end"


@pytest.mark.parametrize("seen", ["x", "-5", "1e3", "", "²", "9" * 200])
async def test_a_last_event_id_that_is_none_of_ours_does_no_harm(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, seen: str
) -> None:
    await flow.complete(task_id)
    headers = [(b"Last-Event-ID", seen.encode())]
    answer = await http.get(f"/events/{task_id}", headers=headers)
    assert answer.status_code == 200
    assert "event: end" in answer.text


async def test_an_unknown_task_is_404_before_the_stream_begins(http: httpx.AsyncClient) -> None:
    for unknown in (NO_TASK, "42", "%2e%2e"):
        answer = await http.get(f"/events/{unknown}")
        assert (answer.status_code, answer.json()["error"]) == (404, "task_unknown")


async def test_fifty_listeners_share_one_subscription_which_ends_with_the_last(
    http: httpx.AsyncClient, shim: tuple[str, object], task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    channel = f"{PREFIX}:events:{task_id}"
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=shim[0], limits=limits, timeout=ANSWER_SECONDS) as many:

        async def listen() -> str:
            async with listening(many, task_id) as listener:
                await listener.next()
                joined.release()
                return str((await listener.next()).data["stage"])

        joined = asyncio.Semaphore(0)
        stages = asyncio.gather(*(listen() for _ in range(50)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(50):
                await joined.acquire()
        await _until_subscribers(redis, channel, 1)
        await flow.enter(task_id, Stage.FACEFUSION)
        assert await stages == ["facefusion"] * 50
    await _until_subscribers(redis, channel, 0)
    assert (await http.get("/health")).status_code == 200


async def test_silence_is_broken_by_a_heartbeat(environment: Environment, task_id: str) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEARTBEAT_SECONDS": "0.1"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http,
            listening(http, task_id) as listener,
        ):
            await listener.next()
            waiting = asyncio.create_task(listener.next())
            assert await await_until(lambda: listener.heartbeats > 2, what="heartbeats come")
            waiting.cancel()


async def test_a_listener_that_has_seen_more_than_there_is_is_told_what_there_is(
    environment: Environment, task_id: str
) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEARTBEAT_SECONDS": "0.1"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http,
            listening(http, task_id, seen=50) as listener,
        ):
            told = await listener.next()
            assert (told.name, told.data["status"]) == ("record", "pending")
            assert told.revision < 50


async def test_a_listener_that_has_seen_more_than_there_is_is_told_of_a_task_that_never_rests(
    environment: Environment, task_id: str, flow: PlayedFlow
) -> None:
    async def never_rests() -> None:
        for seconds in count(1):
            await flow.charge(task_id, Stage.WAV2LIP, float(seconds))
            await asyncio.sleep(0.05)

    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEARTBEAT_SECONDS": "0.4"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http,
            listening(http, task_id, seen=100_000) as listener,
        ):
            changing = asyncio.create_task(never_rests())
            try:
                told = [await listener.next() for _ in range(3)]
            finally:
                changing.cancel()
            assert listener.heartbeats >= 1
            assert 0 < told[0].revision < told[1].revision < told[2].revision < 100_000


async def test_a_listener_hears_of_a_task_whose_record_is_counted_anew(
    environment: Environment, task_id: str, flow: PlayedFlow, job_store: JobStore, redis: Redis
) -> None:
    first = await job_store.read(task_id)
    for stage in (Stage.INGEST, Stage.WAV2LIP, Stage.FACEFUSION):
        seen = await flow.enter(task_id, stage)
    with shim_thread(settings_of({**environment, "LIPSWAP_API_HEARTBEAT_SECONDS": "0.2"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http,
            listening(http, task_id) as listener,
        ):
            assert (await listener.next()).revision == seen.revision
            await redis.delete(f"{PREFIX}:{task_id}")
            await job_store.change(task_id, lambda _: first)
            anew = await flow.enter(task_id, Stage.INGEST)
            assert anew.revision < seen.revision
            while (told := await listener.next()).revision != anew.revision:
                assert told.revision < seen.revision
            assert told.data["stage"] == "ingest"


def test_a_record_that_is_counted_anew_never_takes_back_an_end() -> None:
    now = datetime.now(UTC)
    first = record_changes.queued(NO_TASK, {}, now=now)
    later = record_changes.entered(first, Stage.WAV2LIP, now=now)
    watched = Watched()
    assert watched.tell(later)
    assert not watched.tell(first)
    assert watched.tell(first, counts_anew=True)
    assert watched.tell(record_changes.cancelled(later, now=now))
    assert not watched.tell(later, counts_anew=True)


async def test_one_listener_too_many_is_told_when_to_come_again_and_comes_in_when_another_has_left(
    environment: Environment, task_id: str
) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_API_MAX_LISTENERS": "2"})) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http, listening(http, task_id) as stays:
            await stays.next()
            async with listening(http, task_id) as leaves:
                await leaves.next()
                refused = await http.get(f"/events/{task_id}")
                assert (refused.status_code, refused.json()["error"]) == (503, "too_many_listeners")
                assert int(refused.headers["Retry-After"]) > 0
                # Whoever asks is served all the same.
                assert (await http.get(f"/status/{task_id}")).status_code == 200

            async def comes_in() -> bool:
                async with http.stream("GET", f"/events/{task_id}") as answer:
                    return answer.status_code == httpx.codes.OK

            look: Callable[[], Awaitable[bool | None]] = comes_in
            is_in: bool = await await_until(look, what="the place of whoever left is free")
            assert is_in


async def test_a_key_leaves_places_to_listeners_of_others(
    environment: Environment, bucket: ArtifactStore, task_id: str
) -> None:
    # All tasks are theirs to see.
    greedy, modest = (KeyRing(bucket).create(name, scopes=(Scope.READ, Scope.ADMIN)) for name in ("greedy", "modest"))
    mine, yours = ({"X-Api-Key": made.text.get_secret_value()} for made in (greedy, modest))
    with shim_thread(settings_of({**environment, "LIPSWAP_API_MAX_LISTENERS": "8"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, headers=mine, timeout=ANSWER_SECONDS) as http,
            httpx.AsyncClient(base_url=url, headers=yours, timeout=ANSWER_SECONDS) as other,
            listening(http, task_id) as first,
            listening(http, task_id) as second,
        ):
            await first.next()
            await second.next()
            refused = await http.get(f"/events/{task_id}")
            assert (refused.status_code, refused.json()["error"]) == (503, "too_many_listeners")
            assert "one API key is 2" in refused.json()["detail"]
            async with listening(other, task_id) as stays:
                await stays.next()


async def test_a_listener_hears_the_end_although_redis_was_killed_meanwhile(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, stack: RunningStack
) -> None:
    async with listening(http, task_id) as listener:
        await listener.next()
        await asyncio.to_thread(stack.kill, ServiceName.VALKEY)
        await asyncio.to_thread(stack.until_ready, ServiceName.VALKEY)
        # While the disk is busy, what was written last may not have come to it.
        await flow.complete_anew(task_id, RESULT)
        while (told := await listener.next()).name != "end":
            assert told.revision > 0
        assert told.data["status"] == "completed"


async def test_without_redis_a_listener_hears_what_prefect_knows(
    environment: Environment, task_id: str, flow: PlayedFlow
) -> None:
    with shim_thread(settings_of({**environment, "JOBSTORE_REDIS_URL": f"redis://{NOBODY}/0"})) as url:
        async with (
            httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http,
            listening(http, task_id) as listener,
        ):
            assert (await listener.next()).data["status"] == "pending"
            await flow.leave_record(await flow.complete(task_id))
            while (told := await listener.next()).name != "end":
                pass
            assert told.data["status"] == "completed"


async def _until_subscribers(redis: Redis, channel: str, count: int) -> None:
    async def are_so_many() -> bool:
        ((_, subscribed),) = await redis.pubsub_numsub(channel)
        return int(subscribed) == count

    look: Callable[[], Awaitable[bool | None]] = are_so_many
    seen: bool = await await_until(look, what=f"{count} subscriptions")
    assert seen
