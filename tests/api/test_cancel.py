"""POST /cancel."""

import httpx
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelled

from tests.api.orchestra import PlayedFlow
from tests.api.shim import WAIT


async def test_a_task_that_has_not_started_is_cancelled_at_once(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    answer = await http.post(f"/cancel/{task_id}")
    assert answer.status_code == 202
    assert answer.json() == {
        "task_id": task_id,
        "status": "cancelled",
        "state": "cancelled",
        "stage": "cancelled",
    }
    assert (await flow.run_of(task_id)).state_type is StateType.CANCELLED
    assert (await http.get(f"/status/{task_id}")).json()["status"] == "cancelled"


async def test_a_running_task_is_asked_to_end_and_its_end_is_told(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    await flow.start(task_id)
    answer = await http.post(f"/cancel/{task_id}")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert (await flow.run_of(task_id)).state_type is StateType.CANCELLING
    await flow.set_state(task_id, Cancelled())
    ended = await http.get(f"/status/{task_id}", params={"wait": "true", "timeout": WAIT})
    assert ended.json()["status"] == "cancelled"


async def test_cancelling_twice_or_too_late_changes_nothing(
    http: httpx.AsyncClient, task_id: str, flow: PlayedFlow
) -> None:
    for _ in range(2):
        assert (await http.post(f"/cancel/{task_id}")).json()["status"] == "cancelled"
    await flow.complete(task_id)
    assert (await http.get(f"/status/{task_id}")).json()["status"] == "cancelled"
