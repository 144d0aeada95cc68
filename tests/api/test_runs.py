"""What it means that Prefect does not know something: a task that is not there, or a flow that is not deployed."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from pydantic import BaseModel
from redis.asyncio import Redis

from api_shim.callers import EVERYBODY
from api_shim.idempotency import Idempotency
from api_shim.metrics import Metrics
from api_shim.runs import Runs, RunsError
from api_shim.services import open_services
from api_shim.settings import ShimSettings
from api_shim.starting import start
from api_shim.wire import RunBody
from blocks import record_changes
from blocks.deliveries import DELIVERY_DEPLOYMENT
from flows.request import FACES_DEPLOYMENT
from gpu_tasks.contract.faults import FaultCode
from tests.api.shim import PREFIX


class RemovedMeanwhile(Runs):
    """Somebody deletes a deployment between the look at it and the run."""

    async def deployment_id(self, name: str = "") -> UUID:
        found = await super().deployment_id(name)
        await self._client.delete_deployment(found)
        return found


class DeletedMeanwhile(Runs):
    """Somebody deletes a task between the look for it and the look at it."""

    async def replayed(self, idempotency: Idempotency) -> FlowRun | None:
        found = await super().replayed(idempotency)
        if found is not None:
            await self._client.delete_flow_run(found.id)
        return found


class Asked(BaseModel):
    """A question."""


async def deployed(prefect: PrefectClient, name: str) -> None:
    flow_name, _, deployment_name = name.partition("/")
    flow_id = await prefect.create_flow_from_name(flow_name)
    await prefect.create_deployment(flow_id=flow_id, name=deployment_name, enforce_parameter_schema=False)


@pytest.fixture
async def without_deliveries(prefect: PrefectClient) -> AsyncIterator[None]:
    await prefect.delete_deployment((await prefect.read_deployment_by_name(DELIVERY_DEPLOYMENT)).id)
    yield
    await deployed(prefect, DELIVERY_DEPLOYMENT)


@pytest.mark.usefixtures("without_deliveries")
async def test_a_webhook_whose_flow_is_not_deployed_is_no_unknown_task(prefect: PrefectClient) -> None:
    now = datetime.now(UTC)
    request = {"webhook_url": "https://example.com/", "webhook_events": ["task.failed", "task.cancelled"]}
    record = record_changes.cancelled(record_changes.queued(str(uuid4()), request, now=now), now=now)
    with pytest.raises(RunsError) as caught:
        await Runs(prefect).announce(record)
    assert caught.value.fault.code is FaultCode.ORCHESTRATOR_UNAVAILABLE
    assert DELIVERY_DEPLOYMENT in caught.value.fault.detail


async def test_a_deployment_that_goes_before_its_run_is_made_is_told_by_its_name(prefect: PrefectClient) -> None:
    name = f"{FACES_DEPLOYMENT}-{uuid4().hex}"
    await deployed(prefect, name)
    with pytest.raises(RunsError) as caught:
        await RemovedMeanwhile(prefect).ask(name, Asked())
    assert caught.value.fault.code is FaultCode.ORCHESTRATOR_UNAVAILABLE
    assert name in caught.value.fault.detail


async def test_a_question_that_was_deleted_is_to_be_asked_again(prefect: PrefectClient) -> None:
    with pytest.raises(RunsError) as caught:
        await Runs(prefect).answer(uuid4())
    assert caught.value.fault.code is FaultCode.ORCHESTRATOR_UNAVAILABLE


async def test_a_task_that_prefect_does_not_know_is_unknown(prefect: PrefectClient) -> None:
    for ask in (Runs(prefect).find, Runs(prefect).cancel):
        with pytest.raises(RunsError) as caught:
            await ask(str(uuid4()))
        assert caught.value.fault.code is FaultCode.TASK_UNKNOWN


async def test_a_request_whose_task_is_deleted_while_it_is_repeated_makes_a_new_one(
    settings: ShimSettings, prefect: PrefectClient, body: dict[str, object], redis: Redis
) -> None:
    asked = RunBody.model_validate(body)
    idempotency = Idempotency(uuid4().hex, body, None)
    async with open_services(settings, Metrics()) as services:
        first = await start(services, asked, EVERYBODY, idempotency)
        await redis.delete(f"{PREFIX}:{first.task_id}")
        racing = replace(services, runs=DeletedMeanwhile(prefect))
        again = await start(racing, asked, EVERYBODY, idempotency)
    assert again.task_id != first.task_id
