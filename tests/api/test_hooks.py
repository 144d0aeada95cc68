"""POST /hooks/runpod: a reason to look, for whoever knows the token."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from blocks.job_store import JobStore
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import CONTRACT_VERSION, Engine, Timeline, Wav2LipJob, fingerprint
from tests.api.shim import ANSWER_SECONDS, HOOK_TOKEN, Environment, settings_of, shim_thread
from tests.waiting import PATIENCE_SECONDS

HOOK = f"/hooks/runpod/{HOOK_TOKEN}"
DIGEST = "a" * 64
CALL = {"id": "job-1", "status": "COMPLETED", "delayTime": 3, "executionTime": 5}


def _job() -> Wav2LipJob:
    media = Artifact(key="work/media/x", sha256=DIGEST, size_bytes=1, media_type="video/mp4")
    return Wav2LipJob(
        engine=Engine.DRAFT,
        model_revisions={},
        target=media,
        driving_audio=media,
        timeline=Timeline(fps="25", frame_count=10, target_frame_count=10),
        contract_version=CONTRACT_VERSION,
    )


JOB = _job()


@pytest.mark.parametrize(
    ("query", "body", "woken"),
    [
        ({"fingerprint": DIGEST}, CALL, DIGEST),
        ({}, {**CALL, "input": {"job": JOB.model_dump(mode="json")}}, fingerprint(JOB)),
        ({}, {**CALL, "output": {"receipt": {"fingerprint": DIGEST}}}, DIGEST),
    ],
)
async def test_a_call_wakes_whoever_waits_for_the_job_as_often_as_it_comes(
    http: httpx.AsyncClient, job_store: JobStore, query: dict[str, str], body: dict[str, Any], woken: str
) -> None:
    async with job_store.woken(woken) as waker:
        for _ in range(2):
            answer = await http.post(HOOK, params=query, json=body)
            assert (answer.status_code, answer.json()) == (200, {"ok": True})
            assert await waker.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "body",
    [
        CALL,
        {**CALL, "input": {"job": {"stage": "nonsense"}}},
        {**CALL, "input": "text", "output": ["list"]},
        {**CALL, "output": {"receipt": {"fingerprint": "../../etc"}}},
    ],
)
async def test_a_call_that_names_no_job_is_taken_and_wakes_nobody(
    http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await http.post(HOOK, json=body)).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 1}', b"\xff"])
async def test_what_is_no_call_is_refused(http: httpx.AsyncClient, content: bytes) -> None:
    answer = await http.post(HOOK, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (422, "request_invalid")


@pytest.mark.parametrize("token", ["guess", HOOK_TOKEN[:-1], HOOK_TOKEN + "x", "sch%C3%B6n"])
async def test_a_wrong_token_is_answered_like_any_address_that_is_none(http: httpx.AsyncClient, token: str) -> None:
    answer = await http.post(f"/hooks/runpod/{token}", json=CALL)
    assert (answer.status_code, answer.json()["error"]) == (404, "route_unknown")
    assert token not in answer.text


async def test_the_token_needs_no_other_secret_and_stays_out_of_the_log(
    http: httpx.AsyncClient, shim: tuple[str, Path]
) -> None:
    await http.post(HOOK, json=CALL)
    assert HOOK_TOKEN not in shim[1].read_text()


def test_where_no_token_is_set_nobody_is_let_in(environment: Environment) -> None:
    left = {name: value for name, value in environment.items() if name != "LIPSWAP_RUNPOD_HOOK_TOKEN"}
    with shim_thread(settings_of({**left, "FF_API_SECRET": "secret"})) as url:
        for token in ("None", HOOK_TOKEN):
            assert httpx.post(f"{url}/hooks/runpod/{token}", json=CALL, timeout=ANSWER_SECONDS).status_code == 404
