"""Reads records and runs out of Prefect, page by page."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterType,
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from pydantic import ValidationError

from flows.request import DEPLOYMENT
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.records import TaskRecord

_PAGE: Final = 200
UNFINISHED: Final = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


async def final_records(client: PrefectClient, *, since: datetime | None = None) -> AsyncIterator[TaskRecord]:
    """Yield the final records that runs have left, the newest first; one that cannot be read is left out."""
    offset = 0
    while True:
        page = await client.read_artifacts(
            artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=[RECORD_ARTIFACT])),
            sort=ArtifactSort.CREATED_DESC,
            limit=_PAGE,
            offset=offset,
        )
        for artifact in page:
            try:
                record = TaskRecord.model_validate_json(str(artifact.data))
            except ValidationError:
                continue
            if since is not None and record.created_at < since:
                return
            yield record
        if len(page) < _PAGE:
            return
        offset += len(page)


async def unfinished_runs(client: PrefectClient) -> AsyncIterator[FlowRun]:
    """Yield the pipeline's runs that are on their way; a run that waits for its time is not."""
    offset = 0
    while page := await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED)))),
        deployment_filter=_pipeline(),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_PAGE,
        offset=offset,
    ):
        for run in page:
            yield run
        offset += len(page)


async def runs_that_ended_before(client: PrefectClient, moment: datetime) -> list[FlowRun]:
    """Return one page of runs, of whatever deployment, that ended before a moment: oldest first."""
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(end_time=FlowRunFilterEndTime(before_=moment)),
        sort=FlowRunSort.START_TIME_ASC,
        limit=_PAGE,
    )


def _pipeline() -> DeploymentFilter:
    return DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT.partition("/")[2]]))
