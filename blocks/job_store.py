"""The mirror of run records in Redis: any Redis client can read it, one script writes it, losing it loses nothing."""

import asyncio
import hashlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

from prefect.blocks.core import Block
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from blocks.connections import shared
from blocks.endpoint_health import EndpointReading
from blocks.joint_reads import JointReads
from blocks.record_feed import RecordFeed
from blocks.redis_clients import commanding, listening
from blocks.redis_url import check_redis_url
from blocks.wakes import Waker, Wakes
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord

Change = Callable[[TaskRecord | None], TaskRecord | None]

# Set the record only when nobody has written since it was read, keep its age limit, tell the watchers. One script, so
# that no reader sees one without the other. Only commands that every hosted Redis knows.
_SET_IF_UNCHANGED = """
local stored = redis.call('GET', KEYS[1])
if (stored and redis.sha1hex(stored) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return 1
"""

_CONFLICT_SECONDS = 10.0
# Longer than whoever has looked at a run before it was removed may still want to write its record.
_BURIED_SECONDS = 300
_REREAD_SECONDS = 15.0
# How long a reading of an endpoint's health counts: while jobs wait there it is read anew all the time.
READING_SECONDS = 120


class JobStoreError(FaultError):
    """Redis does not answer, or holds something that is no record."""


class JobStore(Block):
    """Keeps the newest record of every run in Redis for `GET /status` and other readers.

    Example:
        Read the record of a run:
        ```python
        from blocks.job_store import JobStore

        store = JobStore.load("BLOCK_NAME")
        record = await store.read("5f0f4f3c-...")
        ```
    """

    _block_type_name = "Lipswap job store"
    _block_type_slug = "lipswap-job-store"
    _logo_url = "https://avatars.githubusercontent.com/u/1529926?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://redis.io/docs/latest/"  # type: ignore[assignment]  # the same

    redis_url: Annotated[SecretStr, AfterValidator(check_redis_url)] = Field(
        description="Address of Redis, rediss:// unless it is on this machine."
    )
    prefix: str = Field(default="ff:task", min_length=1, description="First part of every key and channel.")
    ttl_seconds: int = Field(default=604800, gt=0, description="How long a record is kept after its last change.")

    async def read(self, task_id: str) -> TaskRecord | None:
        """Return the record of a run, None when there is none.

        Raises:
            JobStoreError: Redis is away or holds something else under the key.
        """
        stored = await self.read_text(task_id)
        return parse_record(stored) if stored else None

    async def read_text(self, task_id: str) -> bytes | None:
        """Return what stands under the key of a run as it is; empty or None: there is no record.

        Raises:
            JobStoreError: Redis is away.
        """
        with _answered():
            stored = await self._reads().get(self._key(task_id))
        return stored.encode() if isinstance(stored, str) else stored

    async def change(self, task_id: str, change: Change) -> TaskRecord | None:
        """Apply `change` to the stored record until nobody else wrote in between; return what is stored then.

        `change` is called with the stored record or None. When it returns None or its argument, nothing is written.

        Raises:
            JobStoreError: Redis is away, or others wrote without end.
        """
        deadline = time.monotonic() + _CONFLICT_SECONDS
        while True:
            with _answered():
                stored = await self._commands().get(self._key(task_id))
            before = parse_record(stored) if stored else None
            after = change(before)
            if after is None or after == before:
                return before
            with _answered():
                is_set = await self._set_if_unchanged(stored, after)
            if is_set:
                return after
            if time.monotonic() > deadline:
                raise JobStoreError(FaultCode.ORCHESTRATOR_UNAVAILABLE, "Too many writers changed one record.")
            await asyncio.sleep(random.uniform(0.0, 0.02))  # noqa: S311  # spreads writers, guards nothing

    async def watch(self, task_id: str) -> AsyncIterator[TaskRecord]:
        """Yield the record now and after every change, newest only, and stop after a final one.

        Raises:
            JobStoreError: Redis is away; the caller may begin again.
        """
        async with self._subscribed(self._channel(task_id)) as messages:
            revision = -1
            while True:
                record = await self.read(task_id)
                if record is not None and record.revision > revision:
                    revision = record.revision
                    yield record
                    if record.status.is_final:
                        return
                # A message lost with its connection is made up for by reading again after a while.
                await _next_message(messages, _REREAD_SECONDS)

    def feed(self) -> RecordFeed:
        """Return what tells of changed records over one connection; who asks for it runs it."""
        url = self.redis_url.get_secret_value()
        redis = listening(url)
        # It connects again by itself, and has to know when it does: what was told meanwhile is lost.
        redis.set_retry(Retry(NoBackoff(), 0))
        return RecordFeed(redis, self._channel)

    async def wake(self, fingerprint: str) -> None:
        """Tell whoever waits for a job that its status is worth reading now."""
        with _answered():
            await self._commands().publish(self._wake_channel(fingerprint), "")

    @asynccontextmanager
    async def woken(self, fingerprint: str) -> AsyncIterator[Waker]:
        """Listen for `wake(fingerprint)`; without Redis the waker only lets time pass."""
        wakes, waker = self._wakes(), Waker()
        await wakes.until_listening()
        with wakes.calling(fingerprint, waker.call):
            yield waker

    @asynccontextmanager
    async def commands(self) -> AsyncIterator[Redis]:
        """Give the connection to what else is kept beside the records, under this store's prefix.

        Raises:
            JobStoreError: Redis is away.
        """
        with _answered():
            yield self._commands()

    async def run_script(self, script: str, *, keys: list[str], args: list[str | float]) -> Any:  # noqa: ANN401  # Redis' answers
        """Run a Lua script in one step and return its answer.

        Raises:
            JobStoreError: Redis is away.
        """
        with _answered():
            return await self._commands().register_script(script)(keys=keys, args=args)

    async def note_endpoint_health(self, reading: EndpointReading) -> None:
        """Leave what was found at an endpoint where every process of the deployment sees it for a while."""
        with _answered():
            await self._commands().set(
                self._endpoint_key(reading.endpoint_id), reading.model_dump_json(), ex=READING_SECONDS
            )

    async def endpoint_health(self, endpoint_id: str) -> EndpointReading | None:
        """Return what was last found at an endpoint, None when nobody had a reason to look lately.

        Raises:
            JobStoreError: Redis is away.
        """
        with _answered():
            stored = await self._commands().get(self._endpoint_key(endpoint_id))
        try:
            return EndpointReading.model_validate_json(stored) if stored else None
        except ValidationError:
            # Of another version of us: it is gone in a moment.
            return None

    async def read_many(self, task_ids: Sequence[str]) -> list[TaskRecord | None]:
        """Return the records of many runs in one answer, None for each that is not there or no record.

        Raises:
            JobStoreError: Redis is away.
        """
        if not task_ids:
            return []
        with _answered():
            stored = await self._commands().mget([self._key(task_id) for task_id in task_ids])
        return [_record_or_none(text) for text in stored]

    async def fill(self, records: Sequence[TaskRecord]) -> None:
        """Keep final records that were found elsewhere, where there is nothing; no watcher waits for them.

        Raises:
            JobStoreError: Redis is away.
        """
        with _answered():
            async with self._commands().pipeline(transaction=False) as pipeline:
                for record in records:
                    pipeline.set(self._key(record.task_id), record.model_dump_json(), nx=True, ex=self.ttl_seconds)
                await pipeline.execute()

    async def bury(self, task_id: str) -> None:
        """Remove the record of a run for good: for a while nobody can put one in its place.

        Raises:
            JobStoreError: Redis is away.
        """
        # An empty text is no record to any reader, and no empty place to any writer.
        with _answered():
            await self._commands().set(self._key(task_id), "", ex=_BURIED_SECONDS)

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            JobStoreError: It does not.
        """
        with _answered():
            await self._commands().ping()

    async def _set_if_unchanged(self, stored: bytes | str | None, after: TaskRecord) -> bool:
        digest = ""
        if stored:
            seen = stored.encode() if isinstance(stored, str) else stored
            digest = hashlib.sha1(seen).hexdigest()  # noqa: S324  # what Redis' scripts can compute
        script = self._commands().register_script(_SET_IF_UNCHANGED)
        return bool(
            await script(
                keys=[self._key(after.task_id)],
                args=[
                    digest,
                    after.model_dump_json(),
                    self.ttl_seconds,
                    self._channel(after.task_id),
                    after.revision,
                ],
            )
        )

    @asynccontextmanager
    async def _subscribed(self, channel: str) -> AsyncIterator[PubSub]:
        with _answered():
            pubsub = self._listener().pubsub(ignore_subscribe_messages=True)
            await pubsub.subscribe(channel)
        try:
            yield pubsub
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it without types

    def _commands(self) -> Redis:
        url = self.redis_url.get_secret_value()
        return shared(("redis commands", url), lambda: commanding(url))

    def _reads(self) -> JointReads[str, bytes | str | None]:
        url = self.redis_url.get_secret_value()
        return shared(("redis reads", url), lambda: JointReads(self._commands().mget))

    def _listener(self) -> Redis:
        # Apart from the commands: a reply that is waited for longer than the socket's timeout is no error here.
        url = self.redis_url.get_secret_value()
        return shared(("redis listener", url), lambda: listening(url))

    def _wakes(self) -> Wakes:
        url, prefix = self.redis_url.get_secret_value(), self._wake_channel()
        return shared(("redis wakes", url, prefix), lambda: Wakes(listening(url), prefix))

    def _key(self, task_id: str) -> str:
        return f"{self.prefix}:{task_id}"

    def _channel(self, task_id: str) -> str:
        return f"{self.prefix}:events:{task_id}"

    def _wake_channel(self, fingerprint: str = "") -> str:
        return f"{self.prefix}:wake:{fingerprint}"

    def _endpoint_key(self, endpoint_id: str) -> str:
        return f"{self.prefix}:endpoint:{endpoint_id}"


def parse_record(stored: bytes | str) -> TaskRecord:
    """Read a record as it stands in Redis.

    Raises:
        JobStoreError: It is no record.
    """
    try:
        return TaskRecord.model_validate_json(stored)
    except ValidationError as error:
        raise JobStoreError(FaultCode.INTERNAL, "The stored record could not be read.") from error


def _record_or_none(stored: bytes | str | None) -> TaskRecord | None:
    try:
        return parse_record(stored) if stored else None
    except JobStoreError:
        return None


async def _next_message(messages: PubSub, seconds: float) -> bool:
    """Wait for a message; the confirmation of the subscription is none."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with _answered():
            if await messages.get_message(timeout=left) is not None:
                return True
    return False


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise JobStoreError(FaultCode.ORCHESTRATOR_UNAVAILABLE, "Redis does not answer.") from error
