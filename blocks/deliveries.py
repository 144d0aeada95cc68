"""Deliveries of webhooks as runs of a small flow: made once each, listed, replayed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from gpu_tasks.contract.webhooks import Delivery

DELIVERY_DEPLOYMENT: Final = "deliver-webhook/lipswap"
DELIVERY_TAG: Final = "lipswap-webhook"
_MAX_LISTED: Final = 50


async def create_delivery(client: PrefectClient, delivery: Delivery) -> FlowRun:
    """Create the run that delivers; whoever tells of the same again gets the same run.

    Raises:
        ObjectNotFound: The flow is not deployed.
        httpx.HTTPError: Prefect does not answer.
    """
    deployment = await client.read_deployment_by_name(DELIVERY_DEPLOYMENT)
    return await client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"delivery": delivery.model_dump(mode="json")},
        idempotency_key=delivery.id,
        tags=[DELIVERY_TAG, _task_tag(delivery.message.data.task_id)],
        name=delivery.id,
    )


async def deliveries_of(client: PrefectClient, task_id: str) -> Sequence[FlowRun]:
    """Return the runs that deliver webhooks of a task, oldest first."""
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[DELIVERY_TAG, _task_tag(task_id)])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_MAX_LISTED,
    )


async def find_delivery(client: PrefectClient, delivery_id: UUID) -> FlowRun | None:
    """Return a run that delivers, None when there is none with this id."""
    try:
        run = await client.read_flow_run(delivery_id)
    except ObjectNotFound:
        return None
    return run if DELIVERY_TAG in run.tags else None


async def replay(client: PrefectClient, run: FlowRun) -> None:
    """Make a delivery that has ended, or waits for its next try, due now."""
    if run.state is None or run.state.type is StateType.RUNNING:
        return
    # Forced, because Prefect keeps what has ended from beginning anew.
    again: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC), message="Replayed.")
    await client.set_flow_run_state(run.id, again, force=True)


def delivery_in(run: FlowRun) -> Delivery:
    """Return what a run delivers."""
    return Delivery.model_validate(run.parameters["delivery"])


def _task_tag(task_id: str) -> str:
    return f"lipswap-task:{task_id}"
