"""Telling webhooks where a run stands: a delivery is made for each event that the caller asked for."""

import asyncio

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from blocks.deliveries import create_delivery
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.contract.webhooks import delivery_of

_PAUSES_SECONDS = (0.0, 0.5, 2.0)

_logger = get_logger(__name__)


async def announce(record: TaskRecord) -> None:
    """Make the delivery of what has just happened, if the caller wants it; never ends a run.

    Told twice (by the run, by a hook, by the shim) it is delivered once.
    """
    delivery = delivery_of(record)
    if delivery is None:
        return
    for pause in _PAUSES_SECONDS:
        await asyncio.sleep(pause)
        try:
            async with get_client() as client:
                await create_delivery(client, delivery)
        except (httpx.HTTPError, OSError, ObjectNotFound) as error:
            _logger.warning("The delivery of %s could not be made. (%s)", delivery.id, type(error).__name__)
        else:
            return
