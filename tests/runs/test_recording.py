"""Whose record of a run stands, when two workers believe to have it."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from blocks import record_changes
from blocks.job_store import JobStore
from deployments.local.addresses import StackAddresses
from flows.recording import RunRecord
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ResultRecord, TaskRecord
from tests.servers import valkey_server

__all__ = ["valkey_server"]

RESULT = ResultRecord(
    output_key="outputs/a.mp4", duration_sec=1, bytes_uploaded=1, encoder="libx264", audio_merge="merged", sha256="0"
)


@pytest.fixture
def jobs(valkey_server: StackAddresses) -> JobStore:
    return JobStore(redis_url=valkey_server.redis_url)


async def test_a_result_that_was_told_is_not_overwritten_by_who_did_not_hear_of_it(jobs: JobStore) -> None:
    """Redis was away for a moment when the next worker began: it believes that there is no record yet."""
    queued = record_changes.queued(str(uuid4()), {}, now=datetime.now(UTC))
    first = RunRecord(jobs, queued)
    await first.change(lambda record: record_changes.entered(record, Stage.INGEST, now=datetime.now(UTC)))
    await first.change(lambda record: record_changes.completed(record, RESULT, now=datetime.now(UTC)))
    second = RunRecord(jobs, queued.model_copy(update={"attempts": 2}))
    await second.change(lambda record: record_changes.entered(record, Stage.INGEST, now=datetime.now(UTC)))
    told: TaskRecord | None = await jobs.read(queued.task_id)
    assert told is not None
    assert told.result == RESULT
    assert second.record == told
