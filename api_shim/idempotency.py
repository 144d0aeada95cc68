"""Idempotency-Key: one key and body make one task for 24 hours; whoever asks meanwhile is told its id.

Prefect's own key is what holds: two runs never come of one key. Redis knows whether the first request has been
answered, and tells a second one from a replay; without Redis a second one is answered like a replay.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from api_shim.errors import AnswerError
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import digest_of

OTHER_BODY: Final = "Idempotency-Key: it was used with another body in the last 24 hours."

_CLAIM: Final = """
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""

_REPLAY_SECONDS: Final = 24 * 3600
# A shim that dies at work leaves its claim for so long, on top of the time it was to wait.
_WORK_SECONDS: Final = 60
# How long a second request waits for the first one's task to exist.
_NAMED_SECONDS: Final = 8.0
_LOOK_SECONDS: Final = 0.1
_NOT_ANSWERED: Final = "An earlier request with this Idempotency-Key has no task yet; ask again in a moment."


class Idempotency:
    """An Idempotency-Key header and the body it came with, as digests; the keys of two callers are apart."""

    def __init__(self, header: str, body: object, owner: str | None) -> None:
        self.body_digest = digest_of(body)
        # A digest, because Prefect shows its keys to operators and a caller may put anything into the header.
        self.key = digest_of(["idempotency-key", header, *([owner] if owner else [])])

    def window_keys(self) -> list[str]:
        """Return today's key and yesterday's: Prefect keeps a key for ever, with the day in it it is free again."""
        today = datetime.now(UTC).date()
        return [f"{self.key}:{today - timedelta(days=days)}" for days in (0, 1)]


class _Claim(BaseModel):
    model_config = ConfigDict(frozen=True)

    body: str
    task_id: str | None = None
    is_answered: bool = False


class Answering:
    """A request that is being answered; its task is named as soon as there is one."""

    def __init__(self, claims: "Claims | None", idempotency: Idempotency, seconds: float) -> None:
        self._claims = claims
        self._idempotency = idempotency
        self._seconds = seconds
        self.task_id: str | None = None

    async def name(self, task_id: str) -> None:
        """Say which task it is, for those who ask with the same key meanwhile."""
        self.task_id = task_id
        if self._claims is not None:
            await self._claims.write(self._idempotency, task_id, is_answered=False, seconds=self._seconds)


class Claims:
    """Who is answering which Idempotency-Key."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    @asynccontextmanager
    async def answering(self, idempotency: Idempotency, *, seconds: float) -> AsyncIterator[Answering]:
        """Hold a key while its request is answered.

        Args:
            idempotency: Key and body.
            seconds: How long the caller may wait for its answer.

        Raises:
            FaultError: REQUEST_INVALID when the key came with another body.
            AnswerError: IDEMPOTENCY_IN_FLIGHT, with the id of the task.
            FaultError: ORCHESTRATOR_UNAVAILABLE when an earlier request has made no task in time.
        """
        claims: Claims | None = self
        try:
            await self._claim(idempotency, seconds + _WORK_SECONDS)
        except JobStoreError:
            claims = None
        answering = Answering(claims, idempotency, seconds + _WORK_SECONDS)
        try:
            yield answering
        finally:
            if claims is not None and answering.task_id is not None:
                await self.write(idempotency, answering.task_id, is_answered=True, seconds=_REPLAY_SECONDS)
            elif claims is not None:
                with suppress(JobStoreError):
                    async with self._store.commands() as redis:
                        await redis.delete(self._name(idempotency))

    async def write(self, idempotency: Idempotency, task_id: str, *, is_answered: bool, seconds: float) -> None:
        claim = _Claim(body=idempotency.body_digest, task_id=task_id, is_answered=is_answered)
        with suppress(JobStoreError):
            async with self._store.commands() as redis:
                await redis.set(self._name(idempotency), claim.model_dump_json(), ex=int(seconds))

    async def _claim(self, idempotency: Idempotency, seconds: float) -> None:
        """Return when the key is ours, or its first request has been answered."""
        mine = _Claim(body=idempotency.body_digest).model_dump_json()
        deadline = time.monotonic() + _NAMED_SECONDS
        while True:
            held = await self._store.run_script(_CLAIM, keys=[self._name(idempotency)], args=[mine, int(seconds)])
            if held is None:
                return
            claim = _Claim.model_validate_json(held)
            if claim.body != idempotency.body_digest:
                raise FaultError(FaultCode.REQUEST_INVALID, OTHER_BODY, field="Idempotency-Key")
            if claim.is_answered:
                return
            if claim.task_id is not None:
                raise AnswerError(FaultCode.IDEMPOTENCY_IN_FLIGHT, task_id=claim.task_id)
            if time.monotonic() > deadline:
                # Whoever made the claim may have died, or Redis came back with one of before: nobody can name a task.
                raise FaultError(FaultCode.ORCHESTRATOR_UNAVAILABLE, _NOT_ANSWERED)
            await asyncio.sleep(_LOOK_SECONDS)

    def _name(self, idempotency: Idempotency) -> str:
        return f"{self._store.prefix}:idempotency:{idempotency.key}"
