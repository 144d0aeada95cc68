"""The flow's part in these tests: states set through Prefect's API, records written through blocks."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, FlowRun, State
from prefect.states import Pending, Running

from blocks import record_changes
from blocks.deliveries import create_delivery
from blocks.job_store import JobStore
from gpu_tasks.contract.answers import ANSWER_ARTIFACT, Answer
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import ErrorRecord, IntermediateResult, ResultRecord, TaskRecord
from gpu_tasks.contract.webhooks import delivery_of

RESULT = ResultRecord(
    output_key="outputs/result.mp4",
    duration_sec=2.0,
    bytes_uploaded=3,
    encoder="libx264",
    audio_merge="copied",
    sha256="0" * 64,
    intermediate={"wav2lip": IntermediateResult(output_key="outputs/wav2lip/result.mp4")},
)


class PlayedFlow:
    """Does to a run what the flow and Prefect would do."""

    def __init__(self, client: PrefectClient, store: JobStore) -> None:
        self._client = client
        self._store = store

    async def run_of(self, task_id: str) -> FlowRun:
        return await self._client.read_flow_run(UUID(task_id))

    async def left(self, task_id: str) -> list[Artifact]:
        """What the run has left with Prefect."""
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(task_id)]))
        return await self._client.read_artifacts(artifact_filter=of_run)

    async def set_state(self, task_id: str, state: State[Any]) -> None:
        await self._client.set_flow_run_state(UUID(task_id), state, force=True)

    async def start(self, task_id: str) -> None:
        await self.set_state(task_id, Pending())
        await self.set_state(task_id, Running())

    async def enter(self, task_id: str, stage: Stage) -> TaskRecord:
        return await self._change(task_id, lambda record: record_changes.entered(record, stage, now=_now()))

    async def charge(self, task_id: str, stage: Stage, gpu_seconds: float) -> TaskRecord:
        return await self._change(
            task_id, lambda record: record_changes.charged(record, stage, gpu_seconds, now=_now())
        )

    async def complete(self, task_id: str, result: ResultRecord = RESULT) -> TaskRecord:
        return await self._change(task_id, lambda record: record_changes.completed(record, result, now=_now()))

    async def complete_anew(self, task_id: str, result: ResultRecord) -> TaskRecord:
        """Complete a task whose record Redis may have lost, as a flow does that holds its own."""
        run = await self.run_of(task_id)
        first = record_changes.queued(task_id, run.parameters["request"], now=run.created or _now())
        changed = await self._store.change(
            task_id, lambda stored: record_changes.completed(stored or first, result, now=_now())
        )
        assert changed is not None
        return changed

    async def fail(self, task_id: str, code: FaultCode) -> TaskRecord:
        error = ErrorRecord(error=code, detail="Why.")
        return await self._change(task_id, lambda record: record_changes.failed(record, error, now=_now()))

    async def announce(self, task_id: str) -> str:
        """Make the delivery of where a task stands; returns its id."""
        record = await self._store.read(task_id)
        assert record is not None
        delivery = delivery_of(record)
        assert delivery is not None
        return str((await create_delivery(self._client, delivery)).id)

    async def leave_record(self, record: TaskRecord) -> None:
        """Leave the final record as the artifact of the run."""
        artifact = ArtifactCreate(
            type="lipswap-record", data=record.model_dump(mode="json"), flow_run_id=UUID(record.task_id)
        )
        # The client's own create_artifact also emits an event, for which it starts a server inside this process.
        await self._client.request("POST", "/artifacts/", json=artifact.model_dump(mode="json", exclude_unset=True))

    async def mirror(self, record: TaskRecord) -> None:
        """Write a final record where Redis has none, as a reader does who found it in Prefect."""
        await self._store.fill([record])

    async def leave_answer(self, run_id: str, answer: Answer) -> None:
        """Leave what a small flow has found, and wake its asker."""
        artifact = ArtifactCreate(type=ANSWER_ARTIFACT, data=answer.model_dump_json(), flow_run_id=UUID(run_id))
        await self._client.request("POST", "/artifacts/", json=artifact.model_dump(mode="json", exclude_unset=True))
        await self._store.wake(run_id)

    async def _change(self, task_id: str, change: Any) -> TaskRecord:  # noqa: ANN401  # a lambda of a record
        changed = await self._store.change(task_id, lambda stored: change(stored) if stored else None)
        assert changed is not None
        return changed


def _now() -> datetime:
    return datetime.now(UTC)
