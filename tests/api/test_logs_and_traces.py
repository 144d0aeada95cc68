"""The log as JSON with the task's id and without secrets; one trace from a request to its run."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from blocks.logs import JsonLines, Redacting, naming_task, redacted
from tests.api.collector import Collector, collecting
from tests.api.orchestra import PlayedFlow
from tests.api.shim import ANSWER_SECONDS, HOOK_TOKEN, Environment, shim_process
from tests.waiting import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def test_lines_are_json_with_the_task_and_a_request_and_its_run_are_one_trace(
    environment: Environment, body: dict[str, object], flow: PlayedFlow, tmp_path: Path, collector: Collector
) -> None:
    asked = {"LIPSWAP_LOG_FORMAT": "json", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with shim_process({**environment, **asked}, tmp_path) as (url, log):
        async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS) as http:
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            task_id = (await http.post("/run", json=body, headers=headers)).json()["task_id"]
            call = {"id": "1", "status": "COMPLETED"}
            await http.post(f"/hooks/runpod/{HOOK_TOKEN}", json=call, headers=headers)
            await http.get(f"/status/{task_id}", params={"secret": "in-the-query"}, headers=headers)
            run = await flow.run_of(task_id)
            assert str(run.labels["__OTEL_TRACEPARENT"]).split("-")[1] == TRACE
            wait_until(
                lambda: {"POST /run", "POST /hooks", "GET /status"} <= {span.name for span in collector.spans(TRACE)},
                what="the spans have come",
            )
            # Neither by us nor by anything that makes spans of its own as soon as somebody collects them.
            assert not collector.has_been_told(HOOK_TOKEN)
            assert not collector.has_been_told("in-the-query")
        said = log.read_text()
    lines = [json.loads(line) for line in said.splitlines()]
    about = [line for line in lines if line.get("task_id") == task_id]
    assert any("/run" in line["message"] for line in about)
    assert HOOK_TOKEN not in said


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://b/x?X-Amz-Expires=9&X-Amz-Signature=abcdef01 failed", "abcdef01"),
        ("redis://default:hunter2@cache:6379/0 is away", "hunter2"),
        ("POST /hooks/runpod/t0k3n?fingerprint=1", "t0k3n"),
        ("Authorization: Bearer s3cr3t", "s3cr3t"),
        ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
        ("key lsk_live_abc_s3cr3ts3cr3t", "s3cr3t"),
    ],
)
def test_secrets_leave_no_trace_in_a_line(text: str, secret: str) -> None:
    record = logging.LogRecord("x", logging.WARNING, "x.py", 1, "%s", (text,), None)
    with naming_task("task-1"):
        line = json.loads(JsonLines().format(record))
    assert line["task_id"] == "task-1"
    for told in (line["message"], Redacting(None).format(record), redacted(text)):
        assert secret not in told
        assert "***" in told
