"""Runs of the pipeline that ended without an output although trying again can help."""

from typing import Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from pydantic import ValidationError

from flows.request import DEPLOYMENT, PipelineRequest
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.artifacts import OUTPUTS
from gpu_tasks.contract.lineage import CANDIDATES, Item
from gpu_tasks.contract.records import TaskRecord

_PAGE: Final = 200
# Older ones are beyond Prefect's retention anyway.
_MOST: Final = 2000


async def failed_items(client: PrefectClient) -> list[Item]:
    """Return what is made anew of failed and crashed runs, newest first; what cannot succeed is left out."""
    found: list[Item] = []
    for offset in range(0, _MOST, _PAGE):
        page = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[DEPLOYMENT.partition("/")[0]])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT.partition("/")[2]])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.FAILED, StateType.CRASHED]))
            ),
            sort=FlowRunSort.START_TIME_DESC,
            limit=_PAGE,
            offset=offset,
        )
        found += [item for run in page if (item := _item(run, await _record(client, run))) is not None]
        if len(page) < _PAGE:
            break
    return found


def _item(run: FlowRun, record: TaskRecord | None) -> Item | None:
    if record is not None and record.error is not None and not record.error.retryable:
        return None
    try:
        request = PipelineRequest.model_validate(run.parameters.get("request"))
    except ValidationError:
        return None
    if request.output_key and request.output_key.startswith(CANDIDATES):
        return None
    consent = run.parameters.get("consent") or {}
    return Item(
        task_id=str(run.id),
        output_key=request.output_key or f"{OUTPUTS}{run.id}/result.mp4",
        why=record.error.error.value if record is not None and record.error is not None else "crashed",
        request=request.model_dump(mode="json", exclude={"consent"}),
        consent_id=consent.get("id"),
        consent_entry=consent.get("entry"),
    )


async def _record(client: PrefectClient, run: FlowRun) -> TaskRecord | None:
    left = await client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), type=ArtifactFilterType(any_=[RECORD_ARTIFACT])
        )
    )
    if not left:
        return None
    data = max(left, key=lambda artifact: str(artifact.created)).data
    return TaskRecord.model_validate_json(data) if isinstance(data, str) else TaskRecord.model_validate(data)
