"""What is passed on to readers without being read is word for word what they would else be told."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis

from api_shim.records import is_told_as_it_stands
from blocks import record_changes
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import IntermediateResult, TaskRecord
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.shim import PREFIX

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LINKS = {"flow_run_id": "x", "flow_run_url": None}


@pytest.fixture
def running() -> TaskRecord:
    record = record_changes.noted(record_changes.queued("x", {}, now=NOW), details=LINKS, now=NOW)
    return record_changes.entered(record, Stage.INGEST, now=NOW)


def _is_passed_on(record: TaskRecord, *, after_seconds: float = 1.0) -> bool:
    return is_told_as_it_stands(record.model_dump_json().encode(), now=NOW + timedelta(seconds=after_seconds))


def test_a_run_that_works_is_passed_on(running: TaskRecord) -> None:
    assert _is_passed_on(running)


def test_a_run_that_has_been_silent_is_compared_with_prefect_first(running: TaskRecord) -> None:
    assert not _is_passed_on(running, after_seconds=61.0)


def test_an_end_is_read_and_signed(running: TaskRecord) -> None:
    assert not _is_passed_on(record_changes.completed(running, RESULT, now=NOW))
    assert not _is_passed_on(record_changes.cancelled(running, now=NOW))


def test_an_intermediate_is_read_and_signed(running: TaskRecord) -> None:
    lips = IntermediateResult(output_key="outputs/wav2lip/x.mp4")
    assert not _is_passed_on(running.model_copy(update={"intermediate": {"wav2lip": lips}}))


def test_a_record_without_the_links_to_its_run_gets_them(running: TaskRecord) -> None:
    assert not _is_passed_on(running.model_copy(update={"details": {"flow_run_id": "x"}}))


@pytest.mark.parametrize("stored", [b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"status": "running"}', b"\xff"])
def test_what_is_no_record_is_not_passed_on(stored: bytes) -> None:
    assert not is_told_as_it_stands(stored, now=NOW)


async def test_a_reader_is_told_the_same_either_way(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow, redis: Redis
) -> None:
    await flow.enter(task_id, Stage.WAV2LIP)
    stored = await redis.get(f"{PREFIX}:{task_id}")
    assert isinstance(stored, bytes)
    assert is_told_as_it_stands(stored, now=datetime.now(UTC))
    passed_on = await http.get(f"/status/{task_id}")
    assert passed_on.content == stored
    # Without its links it is read, completed and written anew.
    record = json.loads(stored)
    record["details"] = {name: value for name, value in record["details"].items() if name not in LINKS}
    await redis.set(f"{PREFIX}:{task_id}", json.dumps(record))
    assert (await http.get(f"/status/{task_id}")).json() == passed_on.json()
