"""Runs in Prefect: created by deployment name, found, cancelled. The one place where the shim speaks to Prefect."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType, TaskRun
from prefect.client.schemas.sorting import ArtifactSort, TaskRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling
from pydantic import BaseModel

from api_shim.idempotency import OTHER_BODY, Idempotency
from api_shim.tags import tags_of
from blocks.deliveries import DELIVERY_DEPLOYMENT, create_delivery, deliveries_of, delivery_in, find_delivery, replay
from blocks.tags import OURS, owner_in, owner_tag
from flows.request import DEPLOYMENT, PipelineRequest
from gpu_tasks import tracing
from gpu_tasks.contract.answers import ANSWER_ARTIFACT, RECORD_ARTIFACT, Answer
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.contract.webhooks import delivery_of

_BODY_LABEL: Final = "lipswap.body"
# Where Prefect itself looks for the span that a run belongs to.
TRACE_LABEL: Final = "__OTEL_TRACEPARENT"
_REPLAY_WINDOW = timedelta(hours=24)
# Prefect's client repeats by itself for a minute and more; a caller at the door is not kept that long.
_ANSWER_SECONDS = 8.0
_MAX_TASK_RUNS = 200
# Prefect's own limit of a page, and more than any key may have at once.
_MAX_UNFINISHED = 200
UNFINISHED: Final = (
    StateType.SCHEDULED,
    StateType.PENDING,
    StateType.RUNNING,
    StateType.PAUSED,
    StateType.CANCELLING,
)


class RunsError(FaultError):
    """Prefect does not answer, or has no such run or deployment."""


def connect(api_url: str) -> PrefectClient:
    """Return a client for the Prefect server; nothing is sent yet."""
    api = get_current_settings().api
    return PrefectClient(
        api_url,
        auth_string=api.auth_string.get_secret_value() if api.auth_string else None,
        api_key=api.key.get_secret_value() if api.key else None,
    )


class Runs:
    """The flow runs behind the routes. Every method may raise RunsError ORCHESTRATOR_UNAVAILABLE."""

    def __init__(self, client: PrefectClient, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        self._client = client
        self._answer_seconds = answer_seconds

    async def check_server(self) -> None:
        """Return when the Prefect server answers."""
        async with self._answered():
            (await self._client.request("GET", "/health")).raise_for_status()

    async def deployment_id(self, name: str = DEPLOYMENT) -> UUID:
        """Return the id of a deployment, which changes when somebody deletes and deploys it again."""
        async with self._answered(_undeployed(name)):
            return (await self._client.read_deployment_by_name(name)).id

    async def replayed(self, idempotency: Idempotency) -> FlowRun | None:
        """Return the run that an earlier request with this key has made in the last 24 hours.

        Raises:
            RunsError: REQUEST_INVALID when that request had another body.
        """
        async with self._answered():
            found = await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    idempotency_key=FlowRunFilterIdempotencyKey(any_=idempotency.window_keys())
                )
            )
        recent = [run for run in found if run.created and datetime.now(UTC) - run.created < _REPLAY_WINDOW]
        if not recent:
            return None
        _check_same_body(recent[0], idempotency)
        return recent[0]

    async def create(
        self,
        request: PipelineRequest,
        *,
        consent: DeclaredConsent | None = None,
        idempotency: Idempotency | None = None,
        owner: str | None = None,
    ) -> FlowRun:
        """Create a run of the pipeline; two requests with one idempotency key make one run.

        Of a declaration of consent Prefect gets the name, never the text.

        Raises:
            RunsError: REQUEST_INVALID when a request with the same key and another body was faster.
        """
        labels: dict[str, str] = {f"lipswap.label.{name}": value for name, value in request.labels.items()}
        if (traceparent := tracing.here()) is not None:
            labels[TRACE_LABEL] = traceparent
        if idempotency is not None:
            labels[_BODY_LABEL] = idempotency.body_digest
        deployment_id = await self.deployment_id()
        async with self._answered(_undeployed(DEPLOYMENT)):
            run = await self._client.create_flow_run_from_deployment(
                deployment_id,
                parameters={
                    "request": request.model_dump(mode="json", exclude={"consent"}),
                    "consent": consent and consent.model_dump(mode="json"),
                },
                tags=tags_of(request, owner),
                labels=dict(labels),
                idempotency_key=idempotency.window_keys()[0] if idempotency else None,
            )
        if idempotency is not None:
            _check_same_body(run, idempotency)
        return run

    async def ask(self, deployment: str, asked: BaseModel) -> FlowRun:
        """Create a run of a small flow that leaves an Answer."""
        deployment_id = await self.deployment_id(deployment)
        async with self._answered(_undeployed(deployment)):
            return await self._client.create_flow_run_from_deployment(
                deployment_id, parameters={"asked": asked.model_dump(mode="json")}, tags=[OURS]
            )

    async def answer(self, run_id: UUID) -> Answer | None:
        """Return what a small flow has left, None as long as it works.

        Raises:
            RunsError: ORCHESTRATOR_UNAVAILABLE when it has ended without an answer: its worker died, or an operator
                cancelled or deleted it.
        """
        ended = RunsError(FaultCode.ORCHESTRATOR_UNAVAILABLE, "Who worked on the answer has ended; ask again.")
        async with self._answered(ended):
            # The state is read first: what it leaves, it leaves before it ends.
            run = await self._client.read_flow_run(run_id)
            left = await self._newest_artifact(run_id, ANSWER_ARTIFACT)
        if left is not None:
            return Answer.model_validate_json(left) if isinstance(left, str) else Answer.model_validate(left)
        if run.state is not None and run.state.is_final():
            raise ended
        return None

    async def withdraw(self, run_id: UUID) -> None:
        """End a question that nobody waits for any more, unless somebody works on it: then asking again is quick."""
        async with self._answered():
            run = await self._client.read_flow_run(run_id)
            if run.state_type is StateType.SCHEDULED:
                await self._client.set_flow_run_state(run_id, Cancelled())

    async def find(self, task_id: str) -> FlowRun:
        """Return the run of a task.

        Raises:
            RunsError: TASK_UNKNOWN when there is none, or another flow's run has this id.
        """
        run_id = parse_task_id(task_id)
        async with self._answered(RunsError(FaultCode.TASK_UNKNOWN)):
            run = await self._client.read_flow_run(run_id)
        if not isinstance(run.parameters.get("request"), dict):
            raise RunsError(FaultCode.TASK_UNKNOWN)
        return run

    async def unfinished(self, key_id: str) -> list[str]:
        """Return the ids of the runs of an API key that have not ended."""
        async with self._answered():
            found = await self._client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    tags=FlowRunFilterTags(all_=[owner_tag(key_id)]),
                    state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED))),
                ),
                limit=_MAX_UNFINISHED,
            )
        return [str(run.id) for run in found]

    async def task_runs(self, run_id: UUID) -> list[TaskRun]:
        """Return the newest task runs of a run, newest first."""
        async with self._answered():
            return await self._client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])),
                sort=TaskRunSort.EXPECTED_START_TIME_DESC,
                limit=_MAX_TASK_RUNS,
            )

    async def record_artifact(self, run_id: UUID) -> object | None:
        """Return what the flow left of its final record (JSON text or JSON value), None when it left nothing."""
        async with self._answered():
            return await self._newest_artifact(run_id, RECORD_ARTIFACT)

    async def cancel(self, task_id: str) -> FlowRun:
        """Ask for the end of a run and return it as it stands then; one that has ended stays as it is."""
        run = await self.find(task_id)
        if run.state is not None and run.state.is_final():
            return run
        async with self._answered(RunsError(FaultCode.TASK_UNKNOWN)):
            # What has not started yet is set to Cancelled by the server itself; Prefect refuses it for what has ended.
            await self._client.set_flow_run_state(run.id, Cancelling())
        return await self.find(task_id)

    async def announce(self, record: TaskRecord) -> None:
        """Make the delivery of a webhook for where a task stands now, if its caller wants one."""
        delivery = delivery_of(record)
        if delivery is None:
            return
        async with self._answered(_undeployed(DELIVERY_DEPLOYMENT)):
            await create_delivery(self._client, delivery)

    async def deliveries(self, task_id: str) -> Sequence[FlowRun]:
        """Return the runs that deliver webhooks of a task, oldest first."""
        async with self._answered():
            return await deliveries_of(self._client, task_id)

    async def delivery(self, delivery_id: UUID, *, task_id: str) -> FlowRun:
        """Return one run that delivers a webhook of a task.

        Raises:
            RunsError: DELIVERY_UNKNOWN.
        """
        async with self._answered():
            run = await find_delivery(self._client, delivery_id)
        if run is None or delivery_in(run).message.data.task_id != task_id:
            raise RunsError(FaultCode.DELIVERY_UNKNOWN)
        return run

    async def replay(self, delivery_id: UUID, *, task_id: str) -> FlowRun:
        """Deliver again at once and return the run as it stands then.

        Raises:
            RunsError: DELIVERY_UNKNOWN.
        """
        run = await self.delivery(delivery_id, task_id=task_id)
        async with self._answered(RunsError(FaultCode.DELIVERY_UNKNOWN)):
            await replay(self._client, run)
        return await self.delivery(delivery_id, task_id=task_id)

    async def _newest_artifact(self, run_id: UUID, kind: str) -> object | None:
        found = await self._client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), type=ArtifactFilterType(any_=[kind])
            ),
            sort=ArtifactSort.CREATED_DESC,
            limit=1,
        )
        return found[0].data if found else None

    def _answered(self, missing: RunsError | None = None) -> AbstractAsyncContextManager[None]:
        return answered(self._answer_seconds, missing=missing)


@asynccontextmanager
async def answered(seconds: float = _ANSWER_SECONDS, *, missing: RunsError | None = None) -> AsyncIterator[None]:
    """Turn what Prefect's client raises, or does not answer in time, into a RunsError.

    Args:
        seconds: How long the block may take.
        missing: What it means that Prefect does not know what the block asks for: it never was there, or somebody has
            deleted it a moment ago.

    Raises:
        RunsError: `missing`, else ORCHESTRATOR_UNAVAILABLE.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    # PrefectHTTPStatusError is an httpx.HTTPError, too.
    except (ObjectNotFound, TimeoutError, httpx.HTTPError, OSError) as error:
        raise (missing if missing and _is_missing(error) else _unavailable()) from error


def _is_missing(error: Exception) -> bool:
    # Not all of Prefect's client makes an ObjectNotFound of it.
    is_404 = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == httpx.codes.NOT_FOUND
    return is_404 or isinstance(error, ObjectNotFound)


def _unavailable() -> RunsError:
    return RunsError(FaultCode.ORCHESTRATOR_UNAVAILABLE, "It is the Prefect server.")


def _undeployed(name: str) -> RunsError:
    detail = f"There is no deployment {name}; run python -m deployments.deploy."
    return RunsError(FaultCode.ORCHESTRATOR_UNAVAILABLE, detail)


def owner_of(run: FlowRun) -> str | None:
    """Return the API key that started a run, None when it was started without."""
    return owner_in(run.tags)


def parse_task_id(task_id: str) -> UUID:
    """Return the id of the flow run, which is the id of the task in its one canonical form.

    Raises:
        RunsError: TASK_UNKNOWN for anything else: no task ever had such an id.
    """
    try:
        parsed = UUID(task_id)
    except ValueError as error:
        raise RunsError(FaultCode.TASK_UNKNOWN) from error
    if str(parsed) != task_id:
        raise RunsError(FaultCode.TASK_UNKNOWN)
    return parsed


def _check_same_body(run: FlowRun, idempotency: Idempotency) -> None:
    if run.labels.get(_BODY_LABEL) != idempotency.body_digest:
        raise RunsError(FaultCode.REQUEST_INVALID, OTHER_BODY, field="Idempotency-Key")
