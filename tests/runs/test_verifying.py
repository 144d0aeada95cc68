"""The flow behind `POST /verify`, in the real worker: what it says of a result, of a changed one, of anything else."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.objects import State
from prefect.states import Scheduled

from blocks.audit import AuditLog
from blocks.job_store import JobStore
from flows.request import VERIFY_DEPLOYMENT
from gpu_tasks.contract.answers import ANSWER_ARTIFACT, Answer
from gpu_tasks.contract.artifacts import AUDIT
from gpu_tasks.contract.audit import AuditEntry, AuditEvent
from gpu_tasks.contract.credentials import CredentialState, Verdict
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.storage import ArtifactStore
from tests.runs.orchestra import Orchestra

pytestmark = pytest.mark.usefixtures("worker")
_ANSWER_SECONDS = 60.0


@pytest.fixture(scope="module")
async def result_key(orchestra: Orchestra, keys: dict[str, object]) -> str:
    """A signed result: lip-sync alone is enough."""
    record = await orchestra.run({"audio_key": keys["audio_key"], "target_key": keys["target_key"]})
    assert record.result is not None, record.error
    return str(record.result.output_key)


async def asked(prefect: PrefectClient, job_store: JobStore, key: str) -> Answer:
    """Ask the deployed flow and return its answer, woken by it."""
    deployment = await prefect.read_deployment_by_name(VERIFY_DEPLOYMENT)
    # Due some day, and at once when we listen: it does not call before.
    some_day: State[None] = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
    run = await prefect.create_flow_run_from_deployment(
        deployment.id, parameters={"asked": {"key": key}}, state=some_day
    )
    async with job_store.woken(str(run.id)) as waker:
        await prefect.set_flow_run_state(run.id, Scheduled(), force=True)
        assert await waker.wait(_ANSWER_SECONDS), "the flow never called"
    found = await prefect.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), type=ArtifactFilterType(any_=[ANSWER_ARTIFACT])
        )
    )
    assert len(found) == 1
    assert isinstance(found[0].data, str)
    return Answer.model_validate_json(found[0].data)


async def verdict(prefect: PrefectClient, job_store: JobStore, key: str) -> Verdict:
    answer = await asked(prefect, job_store, key)
    assert answer.fault is None
    return Verdict.model_validate(answer.value)


async def test_a_result_is_trusted_and_says_by_what_it_was_made(
    prefect: PrefectClient, job_store: JobStore, result_key: str
) -> None:
    found = await verdict(prefect, job_store, result_key)
    assert found.state is CredentialState.TRUSTED
    assert found.claims is not None
    assert result_key.split("/")[1] == found.claims.task_id
    assert [stage.engine for stage in found.claims.stages] == ["draft"]


async def test_a_changed_result_is_not(
    prefect: PrefectClient, job_store: JobStore, store: ArtifactStore, result_key: str, tmp_path: Path
) -> None:
    path = tmp_path / "changed.mp4"
    store.fetch_key(result_key, path, max_bytes=10**8)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    store.put_file(path, "uploads/video/changed.mp4", "video/mp4")
    found = await verdict(prefect, job_store, "uploads/video/changed.mp4")
    assert found.state is CredentialState.INVALID


async def test_an_upload_that_nobody_signed_carries_none(
    prefect: PrefectClient, job_store: JobStore, keys: dict[str, str]
) -> None:
    assert (await verdict(prefect, job_store, keys["target_key"])).state is CredentialState.NONE


async def test_a_missing_object_is_the_answers_fault(prefect: PrefectClient, job_store: JobStore) -> None:
    answer = await asked(prefect, job_store, "uploads/video/never-there.mp4")
    assert answer.fault is not None
    assert answer.fault.code is FaultCode.OBJECT_MISSING


async def test_the_audit_chain_remembers_who_was_looked_at(
    prefect: PrefectClient, job_store: JobStore, store: ArtifactStore, result_key: str
) -> None:
    head = store.head(result_key)
    assert head is not None
    await verdict(prefect, job_store, result_key)

    def remembered() -> list[AuditEntry]:
        entries = [store.read_json(key, AuditEntry) for key in store.keys(AUDIT) if not key.endswith("tip.json")]
        return [entry for entry in entries if entry and entry.event is AuditEvent.VERIFY_ASKED]

    assert any(entry.inputs == (head.metadata["sha256"],) for entry in await asyncio.to_thread(remembered))
    report = await asyncio.to_thread(AuditLog(store).verify_chain)
    assert report.is_whole, json.dumps(report.model_dump(mode="json"))
