"""`POST /verify`: a question that a flow answers; here the tests are the flow."""

import asyncio
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from api_shim.client import ApiError, AsyncClient
from flows.request import VERIFY_DEPLOYMENT
from gpu_tasks.contract.answers import Answer
from gpu_tasks.contract.credentials import CredentialState, Verdict
from gpu_tasks.contract.faults import FaultCode, FaultError
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, Environment, settings_of, shim_thread
from tests.waiting import await_until

VERDICT = Verdict(state=CredentialState.INVALID, reasons=("The video was changed after it was signed.",))


async def asked_runs(prefect: PrefectClient) -> set[UUID]:
    """Runs of the deployment."""
    deployment = await prefect.read_deployment_by_name(VERIFY_DEPLOYMENT)
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    return {run.id for run in await prefect.read_flow_runs(deployment_filter=wanted)}


async def new_run(prefect: PrefectClient, before: set[UUID]) -> UUID:
    async def new() -> set[UUID]:
        return await asked_runs(prefect) - before

    found: set[UUID] = await await_until(new, what="the question is a run")
    (run_id,) = found
    return run_id


@pytest.fixture
async def before(prefect: PrefectClient) -> set[UUID]:
    return await asked_runs(prefect)


async def test_the_callers_get_the_verdict_as_soon_as_the_flow_has_left_it(
    http: httpx.AsyncClient, prefect: PrefectClient, flow: PlayedFlow, keys: dict[str, str], before: set[UUID]
) -> None:
    asking = asyncio.create_task(http.post("/verify", json={"key": keys["target_key"]}))
    run_id = await new_run(prefect, before)
    run = await prefect.read_flow_run(run_id)
    assert run.parameters == {"asked": {"key": keys["target_key"]}}
    await flow.leave_answer(str(run_id), Answer(value=VERDICT.model_dump(mode="json")))
    answer = await asking
    assert answer.status_code == httpx.codes.OK, answer.text
    assert Verdict.model_validate(answer.json()) == VERDICT


async def test_the_flows_fault_is_the_callers(
    shim: tuple[str, object], prefect: PrefectClient, flow: PlayedFlow, keys: dict[str, str], before: set[UUID]
) -> None:
    async with AsyncClient(shim[0]) as client:
        asking = asyncio.create_task(client.verify(keys["target_key"]))
        fault = FaultError(FaultCode.OBJECT_MISSING, "It was deleted in between.").fault
        await flow.leave_answer(str(await new_run(prefect, before)), Answer(fault=fault))
        with pytest.raises(ApiError) as refused:
            await asking
    assert (refused.value.status, refused.value.fault.code) == (422, FaultCode.OBJECT_MISSING)
    assert refused.value.fault.detail == fault.detail


async def test_a_flow_that_crashed_is_not_waited_for(
    http: httpx.AsyncClient, prefect: PrefectClient, flow: PlayedFlow, keys: dict[str, str], before: set[UUID]
) -> None:
    asking = asyncio.create_task(http.post("/verify", json={"key": keys["target_key"]}))
    await flow.set_state(str(await new_run(prefect, before)), Crashed())
    answer = await asking
    assert (answer.status_code, answer.json()["error"]) == (503, "orchestrator_unavailable")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("is_begun", [False, True])
async def test_a_caller_is_not_kept_for_ever_and_nobody_begins_what_nobody_waits_for(
    environment: Environment,
    prefect: PrefectClient,
    flow: PlayedFlow,
    before: set[UUID],
    *,
    is_begun: bool,
) -> None:
    # Time enough to begin it on a busy machine.
    settings = settings_of({**environment, "LIPSWAP_API_MAX_ANSWER_SECONDS": "4" if is_begun else "0.5"})
    with shim_thread(settings) as url:
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            asking = asyncio.create_task(http.post("/verify", json={"key": "uploads/video/t.mp4"}))
            run_id = await new_run(prefect, before)
            if is_begun:
                await flow.start(str(run_id))
            answer = await asking
    assert (answer.status_code, answer.json()["error"]) == (504, "deadline_exceeded")
    left = (await prefect.read_flow_run(run_id)).state_type
    assert left is (StateType.RUNNING if is_begun else StateType.CANCELLED)


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"key": "uploads/video/nothing.mp4"}, "object_missing", "uploads/video/nothing.mp4"),
        ({"key": "work/wav2lip/secret.mp4"}, "request_invalid", "key"),
        ({"key": "uploads/../audit/tip.json"}, "request_invalid", "key"),
        ({"key": 7}, "request_invalid", "key"),
        ({}, "request_invalid", "key"),
        ({"key": "uploads/video/t.mp4", "url": "http://127.0.0.1/"}, "request_invalid", "url"),
    ],
)
async def test_what_cannot_be_verified_never_becomes_a_run(  # noqa: PLR0913, PLR0917  # parameters and fixtures
    http: httpx.AsyncClient,
    prefect: PrefectClient,
    before: set[UUID],
    body: dict[str, object],
    code: str,
    named: str,
) -> None:
    answer = await http.post("/verify", json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, code)
    assert named in answer.json()["detail"]
    assert await asked_runs(prefect) == before


async def test_a_question_is_no_task(
    http: httpx.AsyncClient, prefect: PrefectClient, flow: PlayedFlow, keys: dict[str, str], before: set[UUID]
) -> None:
    asking = asyncio.create_task(http.post("/verify", json={"key": keys["target_key"]}))
    run_id = await new_run(prefect, before)
    answer = await http.get(f"/status/{run_id}")
    assert (answer.status_code, answer.json()["error"]) == (404, "task_unknown")
    await flow.leave_answer(str(run_id), Answer(value=VERDICT.model_dump(mode="json")))
    await asking
