"""Tasks that were: lists, running one again, deleting one."""

import asyncio
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Completed, Failed
from redis.asyncio import Redis

from blocks.audit import AuditLog
from blocks.tags import label_tag
from gpu_tasks.contract.artifacts import AUDIT
from gpu_tasks.contract.audit import AuditEntry, AuditEvent
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.lineage import lineage_key
from gpu_tasks.contract.ownership import OutputOwner, marker_of
from gpu_tasks.storage import ArtifactStore
from tests.api.orchestra import RESULT, PlayedFlow
from tests.api.shim import PREFIX

Body = dict[str, Any]


async def submitted(http: httpx.AsyncClient, body: Body, **changes: object) -> str:
    answer = await http.post("/run", json={**body, **changes})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def completed(http: httpx.AsyncClient, flow: PlayedFlow, body: Body, **changes: object) -> str:
    """A task that ended well, as its flow leaves it."""
    task_id = await submitted(http, body, **changes)
    record = await flow.complete(task_id, RESULT.model_copy(update={"output_key": f"outputs/{task_id}/result.mp4"}))
    await flow.leave_record(record)
    await flow.set_state(task_id, Completed())
    return task_id


async def listed(http: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # a query's values
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {**query, **({"cursor": cursor} if cursor else {})}
        answer = await http.get("/tasks", params=params)
        assert answer.status_code == 200, answer.text
        found += answer.json()["tasks"]
        if (cursor := answer.json()["next_cursor"]) is None:
            return found


async def test_a_list_is_newest_first_and_its_pages_hold_every_task_once(http: httpx.AsyncClient, body: Body) -> None:
    label = f"batch:{uuid4().hex}"
    labels = dict([label.split(":")])
    made = [await submitted(http, body, labels=labels) for _ in range(5)]
    for limit in (1, 2, 5, 100):
        tasks = await listed(http, label=label, limit=limit)
        assert [task["task_id"] for task in tasks] == made[::-1]
    first = tasks[0]
    assert (first["status"], first["state"], first["stage"], first["percent"]) == ("pending", "pending", "queued", 0.0)
    assert first["labels"] == labels
    assert first["request"]["target_key"] == body["target_key"]
    assert first["created_at"].endswith("Z")


async def test_tasks_that_came_at_once_are_neither_lost_nor_doubled_between_pages(
    http: httpx.AsyncClient, body: Body
) -> None:
    label = uuid4().hex
    made = await asyncio.gather(*(submitted(http, body, labels={"at-once": label}) for _ in range(8)))
    tasks = await listed(http, label=f"at-once:{label}", limit=3)
    assert sorted(task["task_id"] for task in tasks) == sorted(made)


async def test_a_list_is_filtered_by_status_label_and_time(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    label = uuid4().hex
    done = await completed(http, flow, body, labels={"kind": label})
    between = datetime.now(UTC)
    failed = await submitted(http, body, labels={"kind": label, "more": "yes: really"})
    await flow.fail(failed, FaultCode.NO_FACE_DETECTED)
    await flow.set_state(failed, Failed())
    running = await submitted(http, body, labels={"kind": label})
    await flow.start(running)
    await flow.enter(running, Stage.WAV2LIP)

    async def ids(**query: Any) -> set[str]:  # noqa: ANN401  # a query's values
        return {task["task_id"] for task in await listed(http, **query)}

    mine = f"kind:{label}"
    assert await ids(label=mine, status="completed") == {done}
    assert await ids(label=mine, status=["failed", "running"]) == {failed, running}
    assert await ids(label=[mine, "more:yes: really"]) == {failed}
    assert await ids(label=mine, created_after=between.isoformat()) == {failed, running}
    assert await ids(label=mine, created_before=between.isoformat()) == {done}
    by_id = {task["task_id"]: task for task in await listed(http, label=mine)}
    assert by_id[failed]["error"]["error"] == "no_face_detected"
    assert by_id[running]["stage"] == "wav2lip"
    assert by_id[done]["duration_sec"] == RESULT.duration_sec
    assert by_id[done]["output_key"] == f"outputs/{done}/result.mp4"
    assert "X-Amz-Signature" in by_id[done]["output_url"]


async def test_a_list_is_right_when_redis_has_lost_everything(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow, redis: Redis
) -> None:
    label = uuid4().hex
    done = await completed(http, flow, body, labels={"lost": label})
    waiting = await submitted(http, body, labels={"lost": label})
    await redis.delete(f"{PREFIX}:{done}", f"{PREFIX}:{waiting}")
    tasks = {task["task_id"]: task for task in await listed(http, label=f"lost:{label}")}
    assert {task_id: task["status"] for task_id, task in tasks.items()} == {done: "completed", waiting: "pending"}
    assert tasks[done]["output_key"] == f"outputs/{done}/result.mp4"


async def test_times_beyond_all_tasks_are_no_error(http: httpx.AsyncClient, body: Body) -> None:
    label = f"test:{body['labels']['test']}"
    made = await submitted(http, body)
    for after, before in (("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00"),):
        tasks = await listed(http, label=label, created_after=after, created_before=before)
        assert [task["task_id"] for task in tasks] == [made]
    assert await listed(http, label=label, created_after="9999-12-31T23:59:59Z") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "e30"}, "cursor"),
        ({"cursor": ""}, "cursor"),
        ({"status": "done"}, "status.0"),
        ({"label": "nocolon"}, "label"),
        ({"label": ":value"}, "label"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "2026-01-01T00:00:00"}, "created_before"),
    ],
)
async def test_a_bad_query_is_refused_by_field(http: httpx.AsyncClient, query: dict[str, str], field: str) -> None:
    answer = await http.get("/tasks", params=query)
    assert (answer.status_code, answer.json()["error"]) == (422, "request_invalid")
    assert answer.json()["field"] == field


async def test_a_task_is_run_again_with_some_fields_changed(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    wav2lip = {"blending": 40, "denoise": True}
    first = await completed(http, flow, body, wav2lip=wav2lip, output_key=f"outputs/{uuid4().hex}.mp4")
    answer = await http.post(f"/tasks/{first}/rerun", json={"sync_mode": "bounce", "wav2lip": {"blending": 60}})
    assert answer.status_code == 202, answer.text
    again = answer.json()
    assert again["task_id"] != first
    assert again["status"] == "pending"
    request = (await flow.run_of(again["task_id"])).parameters["request"]
    assert request["target_key"] == body["target_key"]
    assert request["sync_mode"] == "bounce"
    assert (request["wav2lip"]["blending"], request["wav2lip"]["denoise"]) == (60, True)
    # The result of the first one stays where it is.
    assert request["output_key"] is None


async def test_without_a_body_the_very_same_request_is_made(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    first = await submitted(http, body)
    answers = [
        await http.post(f"/tasks/{first}/rerun", headers={"Idempotency-Key": "again-" + first}) for _ in range(2)
    ]
    assert {answer.status_code for answer in answers} == {202}
    (again,) = {answer.json()["task_id"] for answer in answers}
    requests = [(await flow.run_of(task_id)).parameters["request"] for task_id in (first, again)]
    assert requests[0] == requests[1]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"sync_mode": "sideways"}, 422, "request_invalid"),
        ({"nothing": 1}, 422, "request_invalid"),
        ({"target_key": None}, 422, "request_invalid"),
        ({"target_key": "uploads/video/nowhere.mp4"}, 422, "object_missing"),
        ({"wav2lip": {"blending": 101}}, 422, "request_invalid"),
        ({"audio_key": None}, 422, "missing_audio_key"),
        ([], 422, "request_invalid"),
        ("x", 422, "request_invalid"),
    ],
)
async def test_a_change_that_makes_no_request_is_refused(
    http: httpx.AsyncClient, task_id: str, changes: object, status: int, code: str
) -> None:
    answer = await http.post(f"/tasks/{task_id}/rerun", json=changes)
    assert (answer.status_code, answer.json()["error"]) == (status, code)


@pytest.mark.parametrize("method", ["DELETE /tasks/{}", "POST /tasks/{}/rerun"])
@pytest.mark.parametrize("task", ["3d9a1c52-7b0e-4f3c-9c63-0a5d8e1f7b24", "x", "%2e%2e"])
async def test_an_unknown_task_is_unknown(http: httpx.AsyncClient, method: str, task: str) -> None:
    verb, path = method.format(task).split(" ")
    answer = await http.request(verb, path)
    assert (answer.status_code, answer.json()["error"]) == (404, "task_unknown")


async def test_a_deleted_task_is_gone_with_what_only_it_needed(
    http: httpx.AsyncClient, flow: PlayedFlow, bucket: ArtifactStore, body: Body
) -> None:
    own, shared = f"uploads/audio/{uuid4().hex}.wav", f"uploads/video/{uuid4().hex}.mp4"
    for key in (own, shared):
        bucket.put_stream(BytesIO(b"bytes"), key, "application/octet-stream")
    other = await submitted(http, {**body, "target_key": shared})
    task_id = await submitted(http, {**body, "audio_key": own, "target_key": shared})
    outputs = [f"outputs/{task_id}/result.mp4", f"outputs/wav2lip/{task_id}.mp4"]
    foreign = f"outputs/{uuid4().hex}.mp4"
    for key in (*outputs, foreign):
        bucket.put_stream(BytesIO(b"video"), key, "video/mp4")
        owner = OutputOwner(output_key=key, task_id=task_id if key in outputs else other)
        bucket.put_json(marker_of(key), owner, if_absent=True)
    result = RESULT.model_copy(update={"output_key": foreign})
    record = await flow.complete(task_id, result)
    await flow.leave_record(record)
    await flow.set_state(task_id, Completed())
    bucket.put_stream(BytesIO(b"{}"), lineage_key(task_id), "application/json")
    assert await flow.left(task_id)

    answer = await http.delete(f"/tasks/{task_id}")
    assert answer.status_code == 200, answer.text
    assert bucket.head(lineage_key(task_id)) is None
    assert not await flow.left(task_id)
    # Somebody who had looked at it before writes what was there.
    await flow.mirror(record)
    told = answer.json()
    assert told["task_id"] == task_id
    assert sorted(told["outputs"]) == sorted(outputs)
    assert told["uploads"] == [own]
    assert {(kept["key"], kept["reason"]) for kept in told["kept"]} == {(shared, "in_use"), (foreign, "not_ours")}
    there = {key: bucket.head(key) is not None for key in (own, shared, *outputs, foreign)}
    assert there == {own: False, shared: True, outputs[0]: False, outputs[1]: False, foreign: True}
    assert (await http.get(f"/status/{task_id}")).status_code == 404
    assert (await http.delete(f"/tasks/{task_id}")).status_code == 404
    # Its place is free for others, and the chain remembers that something was here.
    assert bucket.read_json(marker_of(outputs[0]), OutputOwner) is None
    entries = [bucket.read_json(key, AuditEntry) for key in bucket.keys(AUDIT) if not key.endswith("tip.json")]
    assert any(entry and entry.event is AuditEvent.OUTPUT_DELETED and entry.task_id == task_id for entry in entries)
    assert AuditLog(bucket).verify_chain().is_whole


async def test_a_task_of_a_version_that_knew_other_fields_is_listed_and_deleted(
    http: httpx.AsyncClient, flow: PlayedFlow, prefect: PrefectClient, deployment: UUID, bucket: ArtifactStore
) -> None:
    upload = f"uploads/video/{uuid4().hex}.mp4"
    bucket.put_stream(BytesIO(b"bytes"), upload, "application/octet-stream")
    label = uuid4().hex
    request = {"target_key": upload, "wav2lip": {"speed": 2}, "labels": {"test": label}, "colour": "red"}
    run = await prefect.create_flow_run_from_deployment(
        deployment, parameters={"request": request, "consent": None}, tags=[label_tag("test", label)]
    )
    await flow.set_state(str(run.id), Failed())
    assert [task["request"] for task in await listed(http, label=f"test:{label}")] == [request]
    again = await http.post(f"/tasks/{run.id}/rerun")
    assert (again.status_code, again.json()["field"]) == (422, "wav2lip.speed")
    answer = await http.delete(f"/tasks/{run.id}")
    assert (answer.status_code, answer.json()["uploads"]) == (200, [upload]), answer.text
    assert bucket.head(upload) is None


async def test_a_task_whose_request_holds_null_for_options_is_deleted(
    http: httpx.AsyncClient, flow: PlayedFlow, prefect: PrefectClient, deployment: UUID
) -> None:
    request = {"target_key": "uploads/video/nowhere.mp4", "wav2lip": None}
    run = await prefect.create_flow_run_from_deployment(deployment, parameters={"request": request, "consent": None})
    await flow.set_state(str(run.id), Failed())
    answer = await http.delete(f"/tasks/{run.id}")
    assert answer.status_code == 200, answer.text


async def test_many_who_delete_one_task_at_once_are_told_that_it_is_gone(
    http: httpx.AsyncClient, flow: PlayedFlow, body: Body
) -> None:
    task_id = await completed(http, flow, body)
    answers = await asyncio.gather(*(http.delete(f"/tasks/{task_id}") for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {200, 404}, [answer.text for answer in answers]
    assert (await http.get(f"/status/{task_id}")).status_code == 404


async def test_a_result_that_an_unfinished_task_reads_stays(
    http: httpx.AsyncClient, flow: PlayedFlow, bucket: ArtifactStore, body: Body
) -> None:
    task_id = await completed(http, flow, body)
    output = f"outputs/{task_id}/result.mp4"
    bucket.put_stream(BytesIO(b"video"), output, "video/mp4")
    reader = await submitted(http, {**body, "target_key": output})
    told = (await http.delete(f"/tasks/{task_id}")).json()
    assert {"key": output, "reason": "in_use"} in told["kept"]
    assert bucket.head(output) is not None
    assert (await http.get(f"/status/{reader}")).status_code == 200


async def test_a_task_that_goes_on_is_not_deleted(http: httpx.AsyncClient, task_id: str, flow: PlayedFlow) -> None:
    for _ in ("waiting", "working"):
        answer = await http.delete(f"/tasks/{task_id}")
        assert (answer.status_code, answer.json()["error"]) == (409, "task_not_ended")
        await flow.start(task_id)
    assert (await http.get(f"/status/{task_id}")).status_code == 200
