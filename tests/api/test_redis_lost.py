"""Redis is killed under load and comes back with nothing: callers may have to ask again, but are never told wrongly."""

import asyncio
import random
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
from prefect.states import Completed
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api_shim.api_keys import KeyRing
from blocks.job_store import JobStoreError
from deployments.local.services import ServiceName
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.storage import ArtifactStore
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.shim import ANSWER_SECONDS
from tests.servers import RunningStack
from tests.waiting import await_until

Body = dict[str, Any]
_TASKS = 12
_AT_ONCE = 6
_READERS = 4
_OFTEN = 1_000_000


class Load:
    """Callers with two keys: one has tasks and reads them, the other looks for what is not its own."""

    def __init__(self, http: httpx.AsyncClient, flow: PlayedFlow, body: Body, ring: KeyRing) -> None:
        self._http = http
        self._flow = flow
        self._body = body
        self._mine = _bearing(ring.create("mine", requests_per_minute=_OFTEN, max_tasks=_AT_ONCE).text)
        self._yours = _bearing(ring.create("yours", requests_per_minute=_OFTEN).text)
        # What callers were told last, by task.
        self.told: dict[str, str] = {}
        self.is_over = asyncio.Event()

    async def task(self) -> None:
        """Ask until a task is accepted, play its flow, and ask once more with the same key."""
        headers = {**self._mine, "Idempotency-Key": uuid4().hex}
        task_id = await self._accepted(headers)
        self.told[task_id] = "pending"
        await self._flow.start(task_id)
        with suppress(JobStoreError, AssertionError):
            await self._flow.enter(task_id, Stage.INGEST)
        await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311  # spreads them
        await self._complete(task_id)
        assert await self._accepted(headers) == task_id, "one key made two tasks"

    async def read(self) -> None:
        """Look at any task again and again."""
        while not self.is_over.is_set():
            await asyncio.sleep(0.005)
            if self.told:
                await self._look(random.choice(list(self.told)))  # noqa: S311  # any will do

    async def pry(self) -> None:
        """Look for the tasks of another key."""
        while not self.is_over.is_set():
            await asyncio.sleep(0.05)
            page = await self._http.get("/tasks", params={"label": self._label}, headers=self._yours)
            assert _is_to_be_asked_again(page) or page.json()["tasks"] == []
            for task_id in list(self.told)[:2]:
                answer = await self._http.get(f"/status/{task_id}", headers=self._yours)
                assert _is_to_be_asked_again(answer) or answer.status_code == 404, answer.text

    async def listed(self) -> dict[str, str]:
        """Status by task, as a list tells it."""
        page = await self._http.get("/tasks", params={"label": self._label, "limit": 100}, headers=self._mine)
        return {task["task_id"]: task["status"] for task in page.json()["tasks"]}

    @property
    def _label(self) -> str:
        return f"test:{self._body['labels']['test']}"

    async def _accepted(self, headers: dict[str, str]) -> str:
        while True:
            answer = await self._http.post("/run", json=self._body, headers=headers)
            if answer.status_code in {202, 409}:
                return str(answer.json()["task_id"])
            # As many as the key may have are running, or a part of the service is away.
            assert answer.status_code == 429 or _is_to_be_asked_again(answer), answer.text
            await asyncio.sleep(0.1)

    async def _complete(self, task_id: str) -> None:
        result = RESULT.model_copy(update={"output_key": f"outputs/{task_id}/result.mp4"})
        record = None
        while record is None:
            with suppress(JobStoreError):
                record = await self._flow.complete_anew(task_id, result)
        await self._flow.leave_record(record)
        await self._flow.set_state(task_id, Completed())

    async def _look(self, task_id: str) -> None:
        before = self.told[task_id]
        answer = await self._http.get(f"/status/{task_id}", headers=self._mine)
        if _is_to_be_asked_again(answer):
            return
        assert answer.status_code == 200, answer.text
        record = answer.json()
        assert record["status"] in {"pending", "running", "completed"}
        if before == "completed":
            assert record["status"] == "completed", "an end was taken back"
        if record["status"] == "completed":
            assert record["result"]["output_key"] == f"outputs/{task_id}/result.mp4"
            self.told[task_id] = "completed"


def _bearing(text: SecretStr) -> dict[str, str]:
    return {"X-Api-Key": text.get_secret_value()}


def _is_to_be_asked_again(answer: httpx.Response) -> bool:
    if answer.status_code != 503:
        return False
    assert answer.json()["retryable"]
    assert "Retry-After" in answer.headers
    return True


async def _lose(stack: RunningStack, redis: Redis) -> None:
    with suppress(RedisError):
        await redis.flushall()
    await asyncio.to_thread(stack.kill, ServiceName.VALKEY)
    await asyncio.to_thread(stack.until_ready, ServiceName.VALKEY)


async def test_no_answer_is_wrong_when_redis_is_killed_and_comes_back_empty(
    stack: RunningStack, shim: tuple[str, object], flow: PlayedFlow, bucket: ArtifactStore, body: Body
) -> None:
    redis = Redis.from_url(stack.addresses.redis_url.get_secret_value())
    async with httpx.AsyncClient(base_url=shim[0], timeout=ANSWER_SECONDS) as http, redis:
        load = Load(http, flow, body, KeyRing(bucket))
        async with asyncio.timeout(200), asyncio.TaskGroup() as callers:
            for _ in range(_READERS):
                callers.create_task(load.read())
            callers.create_task(load.pry())
            tasks = [callers.create_task(load.task()) for _ in range(_TASKS)]
            await await_until(lambda: len(load.told) >= _AT_ONCE // 2, what="there is load")
            await _lose(stack, redis)
            await asyncio.gather(*tasks)
            await await_until(
                lambda: set(load.told.values()) == {"completed"}, seconds=100, what="every end has been told"
            )
            load.is_over.set()
        assert len(load.told) == _TASKS, "nothing that was accepted is lost"
        assert await load.listed() == load.told
