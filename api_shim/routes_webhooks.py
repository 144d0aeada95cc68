"""Deliveries of webhooks: how they went, and once more."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Final
from uuid import UUID

from fastapi import Path
from prefect.client.schemas.objects import FlowRun, StateType

from api_shim.auth import guarded_router
from api_shim.owners import OwnTask
from api_shim.services import Provided
from api_shim.wire import DeliveryAnswer, DeliveryList, DeliveryStatus
from blocks.deliveries import delivery_in

router = guarded_router("webhooks", prefix="/webhooks", also=(HTTPStatus.NOT_FOUND,))

_STATUS: Final[Mapping[StateType, DeliveryStatus]] = MappingProxyType(
    {
        StateType.SCHEDULED: DeliveryStatus.PENDING,
        StateType.PENDING: DeliveryStatus.PENDING,
        StateType.RUNNING: DeliveryStatus.PENDING,
        StateType.PAUSED: DeliveryStatus.PENDING,
        StateType.CANCELLING: DeliveryStatus.PENDING,
        StateType.COMPLETED: DeliveryStatus.DELIVERED,
        StateType.FAILED: DeliveryStatus.FAILED,
        StateType.CRASHED: DeliveryStatus.FAILED,
        StateType.CANCELLED: DeliveryStatus.FAILED,
    }
)


@router.get("/{task_id}")
async def deliveries(services: Provided, task_id: OwnTask) -> DeliveryList:
    """Return what was told of a task to its `webhook_url`, and what could not be told."""
    await services.records.read(task_id)
    return DeliveryList(deliveries=tuple(_answer(run) for run in await services.runs.deliveries(task_id)))


@router.post("/{task_id}/{delivery_id}/replay", status_code=HTTPStatus.ACCEPTED)
async def replay(
    services: Provided, task_id: OwnTask, delivery_id: Annotated[UUID, Path(description="`id` of a delivery.")]
) -> DeliveryAnswer:
    """Deliver a message again, whether it was taken or not: one try, under the same `webhook-id`."""
    await services.records.read(task_id)
    return _answer(await services.runs.replay(delivery_id, task_id=task_id))


def _answer(run: FlowRun) -> DeliveryAnswer:
    delivery = delivery_in(run)
    status = _STATUS[run.state_type] if run.state_type else DeliveryStatus.PENDING
    is_waiting = run.state_type is StateType.SCHEDULED
    return DeliveryAnswer(
        id=str(run.id),
        webhook_id=delivery.id,
        event=delivery.message.type,
        url=delivery.url,
        status=status,
        attempts=run.run_count,
        created_at=run.created or delivery.message.timestamp,
        next_attempt_at=run.next_scheduled_start_time if is_waiting else None,
        reason=(run.state.message or None) if run.state and status is not DeliveryStatus.DELIVERED else None,
    )
