"""What operators see in Prefect of a run, and what they are told when nobody looks."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import cv2
import numpy as np
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from deployments.automations import RULES
from gpu_tasks.contract.records import Status, TaskRecord
from gpu_tasks.storage import ArtifactStore
from tests.runs.long_footage import Identities, upload_footage
from tests.runs.orchestra import Orchestra, SharedWorker, deploy, edited
from tests.waiting import await_until

LABELS = {"customer": "acme", "clip": "7"}


@dataclass
class Pager:
    """Where alerts are posted to."""

    url: str = ""
    texts: list[str] = field(default_factory=list)

    async def until_told(self, *words: str) -> str:
        """Return the first text that holds all of these words."""

        def told() -> str | None:
            return next((text for text in self.texts if all(word in text for word in words)), None)

        return await await_until(told, what=f"somebody is told of {words}")


@contextmanager
def listening() -> Iterator[Pager]:
    pager = Pager()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            pager.texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        pager.url = f"http://127.0.0.1:{server.server_address[1]}/alerts"
        yield pager
        server.shutdown()


@pytest.fixture(scope="module")
def pager() -> Iterator[Pager]:
    with listening() as found:
        yield found


@pytest.fixture(scope="module")
def variables(environment: dict[str, str], identities: Identities, pager: Pager) -> dict[str, str]:
    more = {
        "LIPSWAP_ALERT_URL": pager.url,
        "LIPSWAP_QUALITY_ENABLED": "false",
        "R2_PUBLIC_BASE_URL": "https://media.example",
    }
    return environment | identities.environment() | more


@pytest.fixture(scope="module", autouse=True)
def working(variables: dict[str, str], shared_worker: SharedWorker) -> None:
    deploy(variables)
    shared_worker.at_work()


@pytest.fixture(scope="module")
def footage(store: ArtifactStore, keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    short = upload_footage(store, tmp_path_factory.mktemp("short"), seconds=6)
    return {"source_keys": keys["source_keys"], "labels": LABELS, **short}


@pytest.fixture(scope="module")
async def run(orchestra: Orchestra, footage: dict[str, Any], working: None) -> TaskRecord:  # noqa: ARG001  # comes before
    record = await orchestra.run(footage)
    assert record.status is Status.COMPLETED, record.error

    await orchestra.ended(record.task_id)
    return record


@pytest.fixture(scope="module")
async def artifacts(run: TaskRecord, prefect: PrefectClient) -> dict[str, list[Artifact]]:
    """What hangs on the run's page, by type."""
    found = await prefect.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run.task_id)]))
    )
    by_type: dict[str, list[Artifact]] = {}
    for artifact in found:
        by_type.setdefault(str(artifact.type), []).append(artifact)
    return by_type


async def test_a_run_is_named_by_what_it_does_and_for_whom(run: TaskRecord, orchestra: Orchestra) -> None:
    seen = await orchestra.flow_run(run.task_id)
    assert seen.name == "lip-sync and face swap of long-6.mp4 (clip=7, customer=acme)"
    assert {"lipswap", "wav2lip", "facefusion", "lipswap.label:customer:acme"} <= set(seen.tags)


def test_every_stage_has_one_bar_and_all_are_full_in_the_end(artifacts: dict[str, list[Artifact]]) -> None:
    bars = {str(bar.description).partition(":")[0]: bar.data for bar in artifacts["progress"]}
    assert bars == dict.fromkeys(("ingest", "wav2lip", "facefusion", "assemble", "publish"), 100.0)
    assert len(artifacts["progress"]) == 5


def test_a_picture_shows_target_result_and_source_and_has_no_address_that_expires(
    artifacts: dict[str, list[Artifact]],
) -> None:
    (picture,) = artifacts["image"]
    head, _, encoded = str(picture.data).partition(",")
    assert head == "data:image/jpeg;base64"
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape[0] > 3 * 96
    assert sheet[:, :].std() > 20


def test_the_summary_tells_timings_attempts_cost_and_lasting_links(
    run: TaskRecord, artifacts: dict[str, list[Artifact]]
) -> None:
    (summary,) = artifacts["markdown"]
    text = str(summary.data)
    assert run.result is not None
    assert f"[`{run.result.output_key}`](https://media.example/{run.result.output_key})" in text
    assert "https://media.example/uploads/video/long-6.mp4" in text
    assert "X-Amz-Signature" not in text
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert {"ingest", "wav2lip", "facefusion", "assemble", "publish"} <= set(rows)
    assert f"| 1 | {run.cost.by_stage['wav2lip']:.1f} |" in rows["wav2lip"]
    assert "customer=acme" in rows["labels"]


async def test_somebody_is_told_of_a_run_that_failed(
    orchestra: Orchestra, footage: dict[str, Any], pager: Pager
) -> None:
    record = await orchestra.run(footage | {"target_key": "uploads/video/nothing-there.mp4"})
    assert record.status is Status.FAILED
    text = await pager.until_told("has failed", "nothing-there.mp4")
    assert record.task_id in text


async def test_somebody_is_told_of_a_gpu_job_that_waits_too_long(
    orchestra: Orchestra, footage: dict[str, Any], prefect: PrefectClient, script: Identities, pager: Pager
) -> None:
    script.follow(hold=["wav2lip:0"])
    async with edited(prefect, queue_alert_seconds=0.2):
        # The only worker is held by the first; the second waits.
        tasks = [await orchestra.send(footage | {"wav2lip": {"blending": blending}}) for blending in (41, 42)]
        text = await pager.until_told("waits for a worker", "lipswap.endpoint.wav2lip")
    script.follow()
    ends = [await orchestra.final(task) for task in tasks]
    assert [end.status for end in ends] == [Status.COMPLETED, Status.COMPLETED]
    assert any(task in text for task in tasks)


async def test_deploying_again_makes_no_second_automation_and_keeps_what_was_switched_off(
    prefect: PrefectClient, variables: dict[str, str]
) -> None:
    late, *_ = await prefect.read_automations_by_name(RULES[0].name)
    await prefect.pause_automation(late.id)
    before = {rule.name: await prefect.read_automations_by_name(rule.name) for rule in RULES}
    deploy(variables)
    after = {rule.name: await prefect.read_automations_by_name(rule.name) for rule in RULES}
    assert after == before
    assert [len(found) for found in after.values()] == [1] * len(RULES)
    assert [found[0].enabled for found in after.values()] == [False, True, True, True]
