"""Webhooks at the door: which are asked for, made once each, listed and replayed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Failed

from blocks.deliveries import create_delivery, deliveries_of
from gpu_tasks.contract.webhooks import delivery_of
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, WAIT, Environment, settings_of, shim_thread
from tests.waiting import await_until

Body = dict[str, Any]
SINK = "http://127.0.0.1:9/hook"
# The last is 169.254.169.254 in disguise.
REFUSED = ("http://example.com/", "https://10.0.0.1/", "https://[::1]/", "https://u:p@8.8.8.8/", "https://2852039166/")
NO_TASK = "7f2b3c1e-9a54-4d0e-8a3b-5c6d7e8f9a0b"


@pytest.fixture
async def told(http: httpx.AsyncClient, body: Body) -> str:
    """A task whose end is to be told."""
    answer = await http.post("/run", json={**body, "webhook_url": SINK})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def test_an_address_that_may_not_be_called_is_refused_before_anything_is_paid(
    environment: Environment, body: Body
) -> None:
    with shim_thread(settings_of({**environment, "LIPSWAP_WEBHOOK_LOOPBACK": "false"})) as address:
        for url in REFUSED:
            answer = httpx.post(f"{address}/run", json={**body, "webhook_url": url}, timeout=ANSWER_SECONDS)
            assert (answer.status_code, answer.json()["error"]) == (422, "webhook_refused"), url
            assert answer.json()["field"] == "webhook_url"


@pytest.mark.parametrize(
    "change", [{"webhook_events": []}, {"webhook_events": ["task.exploded"]}, {"webhook_url": ""}, {"webhook_url": 5}]
)
async def test_events_that_are_none_are_refused(http: httpx.AsyncClient, body: Body, change: Body) -> None:
    answer = await http.post("/run", json={**body, "webhook_url": SINK, **change})
    assert (answer.status_code, answer.json()["error"]) == (422, "request_invalid")


def test_without_a_secret_to_sign_with_no_webhook_can_be_asked_for(environment: Environment, body: Body) -> None:
    left = {name: value for name, value in environment.items() if name != "LIPSWAP_WEBHOOK_SECRET"}
    with shim_thread(settings_of(left)) as address:
        answer = httpx.post(f"{address}/run", json={**body, "webhook_url": SINK}, timeout=ANSWER_SECONDS)
    assert (answer.status_code, answer.json()["error"]) == (422, "option_unsupported")
    assert "LIPSWAP_WEBHOOK_SECRET" in answer.json()["detail"]


async def test_the_end_of_a_run_that_crashed_is_told_once(
    http: httpx.AsyncClient, told: str, flow: PlayedFlow, prefect: PrefectClient
) -> None:
    await flow.start(told)
    await flow.set_state(told, Crashed())
    assert (await http.get(f"/status/{told}", params={"wait": "true", "timeout": WAIT})).json()["status"] == "failed"
    look: Callable[[], Awaitable[Sequence[FlowRun] | None]] = partial(deliveries_of, prefect, told)
    made: Sequence[FlowRun] = await await_until(look, what="the delivery is made")
    assert len(made) == 1
    # The flow's own word, late: the same message.
    await flow.announce(told)
    (listed,) = (await http.get(f"/webhooks/{told}")).json()["deliveries"]
    assert listed == {
        "id": listed["id"],
        "webhook_id": f"msg_{told}_failed",
        "event": "task.failed",
        "url": SINK,
        "status": "pending",
        "attempts": 0,
        "created_at": listed["created_at"],
        "next_attempt_at": listed["next_attempt_at"],
        "reason": None,
    }


async def test_a_dead_letter_says_why_and_is_replayed(
    http: httpx.AsyncClient, told: str, flow: PlayedFlow, prefect: PrefectClient
) -> None:
    await flow.complete(told)
    delivery_id = await flow.announce(told)
    await prefect.set_flow_run_state(UUID(delivery_id), Failed(message="It answered: status 500."), force=True)
    (dead,) = (await http.get(f"/webhooks/{told}")).json()["deliveries"]
    assert (dead["status"], dead["reason"], dead["next_attempt_at"]) == ("failed", "It answered: status 500.", None)
    again = await http.post(f"/webhooks/{told}/{delivery_id}/replay")
    assert (again.status_code, again.json()["status"]) == (202, "pending")
    assert again.json()["next_attempt_at"] is not None
    await prefect.set_flow_run_state(UUID(delivery_id), Completed(), force=True)
    (done,) = (await http.get(f"/webhooks/{told}")).json()["deliveries"]
    assert (done["status"], done["reason"]) == ("delivered", None)


async def test_a_task_without_a_webhook_has_no_deliveries(http: httpx.AsyncClient, task_id: str) -> None:
    assert (await http.get(f"/webhooks/{task_id}")).json() == {"deliveries": []}


async def test_what_is_unknown_is_404(http: httpx.AsyncClient, told: str, task_id: str, flow: PlayedFlow) -> None:
    await flow.complete(told)
    delivery_id = await flow.announce(told)
    for path in (f"/webhooks/{told}/{NO_TASK}/replay", f"/webhooks/{task_id}/{delivery_id}/replay"):
        answer = await http.post(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "delivery_unknown")
    assert (await http.get(f"/webhooks/{NO_TASK}")).json()["error"] == "task_unknown"
    assert (await http.post(f"/webhooks/{told}/x/replay")).status_code == 422


async def test_many_who_tell_of_one_end_make_one_delivery(told: str, flow: PlayedFlow, prefect: PrefectClient) -> None:
    delivery = delivery_of(await flow.complete(told))
    assert delivery is not None
    made = await asyncio.gather(*(create_delivery(prefect, delivery) for _ in range(5)))
    assert len({run.id for run in made}) == 1
