"""The record of a run while it runs: held here, mirrored to Redis, and left with Prefect when the run ends.

Redis is speed, not truth: when it is away the run goes on, and the next write that succeeds carries all that was
missed.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.logging import get_logger

from blocks import record_changes
from blocks.job_store import JobStore, JobStoreError
from flows.announcing import announce
from flows.summary import Link, no_link, summary_of
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.records import Status, TaskRecord

# A Redis that hangs must not slow the run down: one wait, then silence for a while.
_WRITE_SECONDS = 3.0
_SILENCE_SECONDS = 15.0
_FINAL_TRIES = 3

Change = Callable[[TaskRecord], TaskRecord]

_logger = get_logger(__name__)


class RunRecord:
    """The one writer of a run's record while the run works.

    Args:
        jobs: The mirror.
        record: What the run begins with.
        link: Gives an object's lasting address, where it has one.
    """

    def __init__(self, jobs: JobStore, record: TaskRecord, link: Link = no_link) -> None:
        self._jobs = jobs
        self._link = link
        self._record = record
        # Which start of the run this is: of two workers that believe to have it, the one of the later start writes.
        self._attempts = record.attempts
        self._silent_until = 0.0
        self._turn = asyncio.Lock()

    @property
    def record(self) -> TaskRecord:
        return self._record

    async def begin(self, *, attempts: int) -> None:
        """Go on from what the shim or an earlier attempt of this run has written."""

        def adopt(stored: TaskRecord | None) -> TaskRecord:
            return record_changes.restarted(stored or self._record, attempts=attempts, now=datetime.now(UTC))

        async with self._turn:
            self._attempts = attempts
            if not await self._mirror(adopt):
                self._record = adopt(None)

    async def change(self, change: Change) -> None:
        """Apply a change and mirror the record; a change that changes nothing is not written."""
        async with self._turn:
            before, self._record = self._record, change(self._record)
            if self._record is not before:
                await self._mirror(self._newer)

    async def finish(self, change: Change) -> TaskRecord:
        """Apply the last change, mirror it with patience and leave the record with Prefect."""
        async with self._turn:
            self._record = change(self._record)
            for attempt in range(_FINAL_TRIES):
                self._silent_until = 0.0
                if await self._mirror(self._newer):
                    break
                await asyncio.sleep(0.2 * 2**attempt)
        if self._record.attempts <= self._attempts:
            await leave_with_prefect(self._record, self._link)
            await announce(self._record)
        return self._record

    def _newer(self, stored: TaskRecord | None) -> TaskRecord | None:
        """Put this run's record over the stored one, unless somebody has closed the run or started it again since."""
        if stored is None:
            return self._record
        if stored.attempts > self._attempts or stored.status is Status.COMPLETED:
            return None
        if stored.status.is_final and stored.attempts >= self._record.attempts:
            return None
        revision = max(stored.revision + 1, self._record.revision)
        return self._record.model_copy(update={"revision": revision})

    async def _mirror(self, change: Callable[[TaskRecord | None], TaskRecord | None]) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                stored = await self._jobs.change(self._record.task_id, change)
        except (JobStoreError, TimeoutError) as error:
            self._silent_until = time.monotonic() + _SILENCE_SECONDS
            _logger.warning("The record could not be mirrored to Redis; the run goes on. (%s)", type(error).__name__)
            return False
        if stored is not None:
            self._record = stored
        return True


async def leave_with_prefect(record: TaskRecord, link: Link) -> None:
    """Store the record and its summary as artifacts of the run; from there it is rebuilt when Redis has lost it."""
    run_id = UUID(record.task_id)
    artifacts = (
        ArtifactCreate(
            type=RECORD_ARTIFACT,
            data=record.model_dump_json(),
            description="The final record as GET /status tells it: JSON, for programs.",
            flow_run_id=run_id,
        ),
        ArtifactCreate(
            type="markdown",
            data=summary_of(record, link),
            description=f"Summary: {record.status}, with timings, attempts, cost and objects.",
            flow_run_id=run_id,
        ),
    )
    try:
        async with get_client() as client:
            for artifact in artifacts:
                await client.create_artifact(artifact)
    except (httpx.HTTPError, OSError) as error:
        _logger.warning("The final record could not be left with Prefect. (%s)", type(error).__name__)
