"""POST /run: what is accepted, and what is refused at the door before anything is paid."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api_shim.idempotency import Claims, Idempotency
from api_shim.wire import RunBody
from blocks.job_store import JobStore
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.storage import ArtifactStore
from tests.api.orchestra import PlayedFlow
from tests.waiting import await_until

Body = dict[str, Any]


async def listed(http: httpx.AsyncClient, body: Body) -> str:
    """Return the task that a request has become which is still being answered."""

    async def look() -> str | None:
        tasks = (await http.get("/tasks", params={"label": f"test:{body['labels']['test']}"})).json()["tasks"]
        return str(tasks[0]["task_id"]) if tasks else None

    return await await_until(look, what="the task is there")


async def test_a_valid_request_becomes_a_run_of_the_deployment_without_bytes(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    answer = await http.post("/run", json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert told == {"task_id": told["task_id"], "status": "pending", "state": "pending", "stage": "queued"}
    run = await flow.run_of(told["task_id"])
    assert run.parameters["request"]["audio_key"] == body["audio_key"]
    assert "audio_base64" not in run.parameters["request"]
    assert run.labels["lipswap.label.test"] == body["labels"]["test"]


async def test_its_record_stands_in_redis_and_under_status(http: httpx.AsyncClient, task_id: str) -> None:
    record = (await http.get(f"/status/{task_id}")).json()
    assert (record["status"], record["state"], record["stage"]) == ("pending", "pending", "queued")
    assert record["details"]["flow_run_id"] == task_id
    assert record["details"]["flow_run_url"].endswith(f"/runs/flow-run/{task_id}")
    assert record["created_at"].endswith("Z")


async def test_with_wait_the_full_record_comes_when_the_task_ends(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    waiting = asyncio.create_task(http.post("/run", params={"wait": "true"}, json=body))
    task_id = await listed(http, body)
    await flow.complete(task_id)
    answer = await waiting
    assert answer.status_code == 200
    assert answer.json()["task_id"] == task_id
    assert answer.json()["result"]["output_url"].startswith("http")


async def test_with_wait_and_a_timeout_the_record_so_far_comes_with_504(http: httpx.AsyncClient, body: Body) -> None:
    answer = await http.post("/run", params={"wait": "true", "timeout": "0.2"}, json=body)
    assert answer.status_code == 504
    assert answer.json()["status"] == "pending"


async def test_inline_audio_is_stored_as_an_upload_and_only_its_key_is_kept(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow, bucket: ArtifactStore
) -> None:
    sound = b"RIFF and so on"
    inline = {**body, "audio_key": None, "audio_base64": base64.b64encode(sound).decode()}
    answer = await http.post("/run", json=inline)
    assert answer.status_code == 202, answer.text
    request = (await flow.run_of(answer.json()["task_id"])).parameters["request"]
    head = bucket.head(request["audio_key"])
    assert head is not None
    assert head.size_bytes == len(sound)
    assert request["audio_key"].startswith("uploads/audio/")


SWAP: Body = {"source_keys": ["uploads/source/s.png"]}


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"audio_key": None}, "missing_audio_key", "audio_key"),
        ({"colour": "red"}, "request_invalid", "colour: unknown field"),
        ({"wav2lip": {"speed": 2}}, "request_invalid", "wav2lip.speed: unknown field"),
        ({"wav2lip": {"blending": 101}}, "request_invalid", "wav2lip.blending"),
        ({"wav2lip": {"blending": "30"}}, "request_invalid", "wav2lip.blending"),
        ({"retain_intermediate": "yes"}, "request_invalid", "retain_intermediate"),
        ({"priority": True}, "request_invalid", "priority"),
        ({"priority": 10**40}, "request_invalid", "priority"),
        ({"target_key": None}, "request_invalid", "target_key"),
        ({"target_key": "uploads/video/../../etc/passwd"}, "request_invalid", "target_key"),
        ({"target_key": "work/wav2lip/secret.mp4"}, "request_invalid", "target_key"),
        ({"output_key": "uploads/video/mine.mp4"}, "request_invalid", "output_key"),
        ({"source_keys": ["uploads/source/s.png"] * 17}, "request_invalid", "source_keys"),
        ({"engine": "quantum"}, "request_invalid", "engine"),
        ({"consent": {"who": "a\0b"}}, "request_invalid", "consent.who: a text"),
        ({"consent": {"who": "\ud800"}}, "request_invalid", "cannot be stored"),
        ({"audio_base64": "UklGRg=="}, "request_invalid", "not both"),
        ({"audio_key": None, "audio_base64": "***"}, "request_invalid", "audio_base64"),
        ({"audio_key": None, "audio_base64": ""}, "request_invalid", "audio_base64"),
        ({"audio_key": None, "audio_base64": "A" * 11_300_000}, "request_invalid", "POST /storage/upload"),
        ({"audio_key": "uploads/audio/nowhere.wav"}, "object_missing", "audio_key"),
        ({"source_keys": ["uploads/source/nowhere.png"]}, "object_missing", "source_keys.0"),
        ({**SWAP, "face_map": [{"source_index": 0}]}, "option_unsupported", "face_map.0.position"),
        ({**SWAP, "face_map": [{"source_index": 1, "position": 0}]}, "option_unsupported", "face_map.0.source_index"),
        (
            {**SWAP, "engine": "draft", "face_map": [{"source_index": 0, "reference_key": "uploads/source/a.png"}]},
            "option_unsupported",
            "face_map.0.reference_key",
        ),
        ({"output_key": "outputs/one.mp4", "wav2lip_output_key": "outputs/one.mp4"}, "request_invalid", "same"),
    ],
)
async def test_a_bad_request_is_refused_with_a_code_and_the_field(
    http: httpx.AsyncClient, body: Body, change: Body, code: str, named: str
) -> None:
    # Not httpx's own JSON, which refuses to send half of a surrogate pair.
    content = json.dumps({**body, **change}).encode()
    answer = await http.post("/run", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"error", "detail", "stage", "retryable", "field"}
    assert answer.json()["error"] == code
    assert answer.json()["field"].partition(".")[0] in {*change, "body"}
    assert named in answer.json()["detail"]


@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'{"target_key": NaN}', b"\xff\xfe", b"[" * 100_000])
async def test_what_is_no_json_object_is_refused(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post("/run", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert (answer.json()["error"], answer.json()["field"]) == ("request_invalid", "body")


async def test_a_body_of_20_mb_is_refused_by_its_length_and_by_counting(http: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1024 * 1024

    declared = await http.post("/run", content=b"x" * 20 * 1024 * 1024)
    counted = await http.post("/run", content=chunks(), headers={"Content-Type": "application/json"})
    for answer in (declared, counted):
        assert answer.status_code == 413
        assert answer.json()["error"] == "payload_too_large"


async def test_an_object_of_zero_bytes_is_refused(http: httpx.AsyncClient, body: Body, bucket: ArtifactStore) -> None:
    bucket._client.put_object(Bucket=bucket._bucket, Key="uploads/audio/empty.wav", Body=b"")
    answer = await http.post("/run", json={**body, "audio_key": "uploads/audio/empty.wav"})
    assert (answer.status_code, answer.json()["error"]) == (422, "object_empty")
    assert "audio_key: uploads/audio/empty.wav" in answer.json()["detail"]


async def test_an_object_that_is_too_large_is_refused(
    http: httpx.AsyncClient, body: Body, bucket: ArtifactStore
) -> None:
    bucket.put_stream(BytesIO(b"x" * 5000), "uploads/source/huge.png", "image/png")
    answer = await http.post("/run", json={**body, "source_keys": ["uploads/source/huge.png"]})
    assert (answer.status_code, answer.json()["error"]) == (413, "object_too_large")
    assert "source_keys.0" in answer.json()["detail"]


async def test_an_output_key_that_is_taken_is_refused(
    http: httpx.AsyncClient, body: Body, bucket: ArtifactStore
) -> None:
    bucket.put_stream(BytesIO(b"x"), "outputs/taken.mp4", "video/mp4")
    answer = await http.post("/run", json={**body, "output_key": "outputs/taken.mp4"})
    assert (answer.status_code, answer.json()["error"]) == (409, "output_exists")


async def test_the_same_idempotency_key_and_body_make_one_task(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(http.post("/run", json=body, headers=headers) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    # Who asks while the first one is being answered hears of the same task.
    (task_id,) = {answer.json()["task_id"] for answer in answers}
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["error"] == "idempotency_in_flight"
            assert answer.headers["Location"] == f"/status/{task_id}"
    await flow.enter(task_id, Stage.WAV2LIP)
    again = await http.post("/run", json=body, headers=headers)
    assert again.status_code == 202
    assert (again.json()["task_id"], again.json()["status"], again.json()["stage"]) == (task_id, "running", "wav2lip")


async def test_a_key_whose_first_request_made_no_task_is_to_be_asked_again(
    http: httpx.AsyncClient, body: Body, job_store: JobStore
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    told = RunBody.model_validate(body).model_dump(mode="json")
    async with Claims(job_store).answering(Idempotency(headers["Idempotency-Key"], told, None), seconds=1):
        answer = await http.post("/run", json=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (503, "orchestrator_unavailable")
    assert "Retry-After" in answer.headers
    assert (await http.post("/run", json=body, headers=headers)).status_code == 202


async def test_a_key_whose_caller_still_waits_is_in_flight_and_then_replayed(
    http: httpx.AsyncClient, body: Body, flow: PlayedFlow
) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    first = asyncio.create_task(http.post("/run", params={"wait": "true"}, json=body, headers=headers))
    task_id = await listed(http, body)
    second = await http.post("/run", json=body, headers=headers)
    assert (second.status_code, second.json()["error"]) == (409, "idempotency_in_flight")
    assert second.json()["task_id"] == task_id
    other = await http.post("/run", json={**body, "retain_intermediate": False}, headers=headers)
    assert (other.status_code, other.json()["field"]) == (422, "Idempotency-Key")
    await flow.complete(task_id)
    answer = await first
    assert answer.json()["task_id"] == task_id
    replayed = await http.post("/run", params={"wait": "true"}, json=body, headers=headers)
    assert replayed.status_code == 200
    assert replayed.json()["task_id"] == task_id


async def test_a_request_that_was_refused_leaves_its_key_free(http: httpx.AsyncClient, body: Body) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    wrong = {**body, "target_key": "uploads/video/nowhere.mp4"}
    assert (await http.post("/run", json=wrong, headers=headers)).status_code == 422
    assert (await http.post("/run", json=body, headers=headers)).status_code == 202


async def test_the_same_idempotency_key_with_another_body_is_refused(http: httpx.AsyncClient, body: Body) -> None:
    headers = {"Idempotency-Key": uuid4().hex}
    assert (await http.post("/run", json=body, headers=headers)).status_code == 202
    other = await http.post("/run", json={**body, "retain_intermediate": False}, headers=headers)
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]


async def test_a_replayed_request_does_not_trip_over_its_own_result(
    http: httpx.AsyncClient, body: Body, bucket: ArtifactStore
) -> None:
    output_key = f"outputs/{uuid4().hex}.mp4"
    headers = {"Idempotency-Key": uuid4().hex}
    first = await http.post("/run", json={**body, "output_key": output_key}, headers=headers)
    bucket.put_stream(BytesIO(b"done"), output_key, "video/mp4")
    again = await http.post("/run", json={**body, "output_key": output_key}, headers=headers)
    assert again.status_code == 202
    assert again.json()["task_id"] == first.json()["task_id"]
