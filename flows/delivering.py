"""Delivering a webhook: one small run per message, tried again by itself, a dead letter when it has failed for good.

Between two tries the run is scheduled, not asleep: it holds no place in a worker and survives a restart.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import AwaitingRetry

from blocks import registry
from blocks.r2 import R2Bucket
from blocks.webhooks import WebhookPolicy
from flows.sending import DeliveryError, send
from gpu_tasks.contract.webhooks import Delivery

# Receivers that came back are not called by all at once.
_JITTER = 0.2


@flow(name="deliver-webhook", persist_result=False)
async def deliver_webhook(delivery: Delivery) -> State[Any] | None:
    """Tell a receiver what happened to a task; a failed run is a dead letter, running it again is the replay."""
    policy: WebhookPolicy = await WebhookPolicy.aload(registry.WEBHOOKS)
    try:
        await send(await _with_urls(delivery), policy)
    except DeliveryError as error:
        tries = flow_run.run_count
        if error.is_final or tries > len(policy.retry_seconds):
            raise
        pause = max(policy.retry_seconds[tries - 1], error.retry_after_seconds)
        due = datetime.now(UTC) + timedelta(seconds=pause * random.uniform(1.0, 1.0 + _JITTER))  # noqa: S311  # spreads calls, guards nothing
        return AwaitingRetry(scheduled_time=due, message=error.fault.detail)
    return None


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
