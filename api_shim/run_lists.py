"""Runs in Prefect as lists: pages of history, what they left, who uses an object, and removal."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort
from prefect.exceptions import ObjectNotFound
from pydantic import BaseModel, ConfigDict

from api_shim.runs import UNFINISHED, answered
from blocks.job_store import JobStoreError, parse_record
from blocks.tags import label_tag, object_tag, owner_tag
from flows.request import DEPLOYMENT
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.records import Status, TaskRecord

_FLOW: Final = DEPLOYMENT.partition("/")[0]
# Prefect's states behind each word on the wire.
STATES_OF: Final[dict[Status, tuple[StateType, ...]]] = {
    Status.PENDING: (StateType.SCHEDULED, StateType.PENDING),
    Status.RUNNING: (StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING),
    Status.COMPLETED: (StateType.COMPLETED,),
    Status.FAILED: (StateType.FAILED, StateType.CRASHED),
    Status.CANCELLED: (StateType.CANCELLED,),
}
# Prefect cannot filter by the time of creation, but by when a run was to start: the same moment but for the clock.
_SLACK: Final = timedelta(seconds=5)
_PAGE: Final = 200


class RunQuery(BaseModel):
    """Which runs of the pipeline; None and () ask for all."""

    model_config = ConfigDict(frozen=True)

    owner: str | None = None
    statuses: tuple[Status, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None


class Position(BaseModel):
    """Where a page ended: the time of its last run, and the runs of exactly that time that were shown."""

    model_config = ConfigDict(frozen=True)

    time: datetime
    shown: tuple[UUID, ...]


class RunLists:
    """Lists of runs. Every method may raise RunsError ORCHESTRATOR_UNAVAILABLE."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client

    async def page(self, query: RunQuery, *, limit: int, after: Position | None) -> list[FlowRun]:
        """Return runs from newest to oldest, at most `limit` of them, after the position."""
        async with answered():
            return await self._client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[_FLOW])),
                flow_run_filter=_filter(query, after),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=limit,
            )

    async def left_records(self, run_ids: Sequence[UUID]) -> dict[UUID, TaskRecord]:
        """Return the final records that runs have left, by run."""
        if not run_ids:
            return {}
        async with answered():
            found = await self._client.read_artifacts(
                artifact_filter=ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=list(run_ids)),
                    type=ArtifactFilterType(any_=[RECORD_ARTIFACT]),
                ),
                sort=ArtifactSort.CREATED_DESC,
                limit=_PAGE,
            )
        records: dict[UUID, TaskRecord] = {}
        for artifact in found:
            record = _parsed(artifact.data)
            if artifact.flow_run_id is not None and record is not None:
                # Newest first: an older one is that of an earlier attempt.
                records.setdefault(artifact.flow_run_id, record)
        return records

    async def used_by_others(self, keys: Iterable[str], run_id: UUID, *, only_unfinished: bool = False) -> set[str]:
        """Return those of the objects that runs other than this one read."""
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED))) if only_unfinished else None
        used = set()
        for key in keys:
            async with answered():
                found = await self._client.read_flow_runs(
                    flow_run_filter=FlowRunFilter(
                        id=FlowRunFilterId(not_any_=[run_id]),
                        tags=FlowRunFilterTags(all_=[object_tag(key)]),
                        state=state,
                    ),
                    limit=1,
                )
            if found:
                used.add(key)
        return used

    async def remove(self, run_id: UUID) -> None:
        """Remove a run with all that Prefect knows of it; one that is gone already is no error."""
        left_there = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        async with answered():
            # Prefect keeps what a run has left there, a picture of its faces among it, when the run itself goes.
            for artifact in await self._client.read_artifacts(artifact_filter=left_there):
                with suppress(ObjectNotFound):
                    await self._client.delete_artifact(artifact.id)
            with suppress(ObjectNotFound):
                await self._client.delete_flow_run(run_id)


def _filter(query: RunQuery, after: Position | None) -> FlowRunFilter:
    tags = [label_tag(name, value) for name, value in query.labels]
    if query.owner is not None:
        tags.append(owner_tag(query.owner))
    states = [state for status in query.statuses for state in STATES_OF[status]]
    befores = [after.time] if after else []
    if query.created_before is not None:
        befores.append(query.created_before + _SLACK)
    return FlowRunFilter(
        id=FlowRunFilterId(not_any_=list(after.shown)) if after else None,
        tags=FlowRunFilterTags(all_=tags) if tags else None,
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)) if states else None,
        expected_start_time=FlowRunFilterExpectedStartTime(
            before_=min(befores, default=None),
            after_=query.created_after - _SLACK if query.created_after else None,
        ),
    )


def _parsed(data: object) -> TaskRecord | None:
    try:
        return parse_record(data if isinstance(data, str | bytes) else json.dumps(data))
    except JobStoreError:
        return None
