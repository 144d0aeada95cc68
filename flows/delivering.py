"""Delivering a webhook: one small run per message, tried again by itself, a dead letter when it has failed for good.

Between two tries the run is scheduled, not asleep: it holds no place in a worker and survives a restart.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import NoReturn
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry

from blocks import registry
from blocks.r2 import R2Bucket
from blocks.webhooks import WebhookPolicy
from flows.handover import is_handed_back
from flows.sending import DeliveryError, send
from gpu_tasks.contract.webhooks import Delivery

# Receivers that came back are not called by all at once.
_JITTER = 0.2


@flow(name="deliver-webhook", persist_result=False)
async def deliver_webhook(delivery: Delivery) -> None:
    """Tell a receiver what happened to a task; a failed run is a dead letter, running it again is the replay.

    Raises:
        DeliveryError: It has failed for good.
        Abort: It is tried again later; the server knows when.
    """
    policy: WebhookPolicy = await WebhookPolicy.aload(registry.WEBHOOKS)
    try:
        await send(await _with_urls(delivery), policy)
    except DeliveryError as error:
        tries = flow_run.run_count
        if error.is_final or tries > len(policy.retry_seconds):
            raise
        pause = max(policy.retry_seconds[tries - 1], error.retry_after_seconds)
        due = datetime.now(UTC) + timedelta(seconds=pause * random.uniform(1.0, 1.0 + _JITTER))  # noqa: S311  # spreads calls, guards nothing
        await _try_again(due, error.fault.detail)


async def _try_again(due: datetime, reason: str) -> NoReturn:
    # Not returned: Prefect's own worker takes a process whose flow returns such a state for one that has crashed.
    # Whoever has taken the run over meanwhile, or cancelled it, has the say: nothing is forced.
    if not is_handed_back(str(flow_run.id)):
        async with get_client() as client:
            later: State[None] = AwaitingRetry(scheduled_time=due, message=reason)
            await client.set_flow_run_state(UUID(str(flow_run.id)), later)
    raise Abort(reason)


async def _with_urls(delivery: Delivery) -> Delivery:
    """Return the message with URLs signed now: what is stored has none."""
    result = delivery.message.data.result
    if result is None:
        return delivery
    bucket: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    presigned = bucket.store().presign_get(result.output_key, expires_seconds=bucket.presign_expiry_seconds)
    public = bucket.settings().public_url(result.output_key)
    signed = result.model_copy(
        update={"presigned_url": presigned, "public_url": public, "output_url": public or presigned}
    )
    data = delivery.message.data.model_copy(update={"result": signed})
    return delivery.model_copy(update={"message": delivery.message.model_copy(update={"data": data})})
