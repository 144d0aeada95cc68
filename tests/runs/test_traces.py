"""One trace from a caller through the shim and the flow to the GPU worker, as a collector of traces gets it."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.local.control_plane.settings import EndpointConfig
from tests.api.collector import Collector, Span, collecting
from tests.api.shim import shim_process
from tests.runpod.plane import API_KEY, plane_config, running_plane
from tests.runs.orchestra import LEAN, deploy, worker_process
from tests.servers import to_the_bucket
from tests.simulation.options import own_options
from tests.waiting import wait_until

CALLER_SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    environment: dict[str, str],
    collector: Collector,
    alone: None,  # noqa: ARG001  # comes before
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a shim before an orchestrator and a GPU worker of its own; all three tell the collector.

    Another worker that took the run would tell it nothing.
    """
    folder = tmp_path_factory.mktemp("traced")
    tells = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    places = {"LIPSWAP_SCRATCH_ROOT": str(folder / "scratch"), "LIPSWAP_WEIGHTS": str(folder)}
    lip_sync = EndpointConfig(
        id="traced-sync",
        command=(sys.executable, "-m", "gpu_tasks.wav2lip.worker"),
        env=to_the_bucket(environment) | places | tells,
        min_workers=1,
        max_workers=1,
        idle_seconds=600,
    )
    with running_plane(plane_config(folder, lip_sync)) as plane:
        runpod = {
            "RUNPOD_API_BASE": f"{plane.base_url}/v2",
            "RUNPOD_API_KEY": API_KEY,
            "RUNPOD_WAV2LIP_ENDPOINT": "traced-sync",
            "LIPSWAP_QUALITY_ENABLED": "false",
        }
        changed = environment | runpod | tells | LEAN
        deploy(changed)
        with worker_process(changed, folder, "flows.worker"), shim_process(changed, Path(folder)) as (url, _):
            yield url


def test_a_request_its_flow_and_its_job_on_the_worker_are_one_trace(
    traced: str, collector: Collector, keys: dict[str, Any]
) -> None:
    trace_id = os.urandom(16).hex()
    asked = {"audio_key": keys["audio_key"], "target_key": keys["target_key"]}
    with httpx.Client(base_url=traced, timeout=120) as http:
        record = http.post(
            "/run",
            params={"wait": "true", "timeout": "100"},
            json=asked | {"wav2lip": own_options()["wav2lip"]},
            headers={"traceparent": f"00-{trace_id}-{CALLER_SPAN}-01"},
        ).json()
    assert record["status"] == "completed", record["error"]

    def whole() -> list[Span] | None:
        """The worker's span and those in which it lies, once all have come up to the caller's."""
        for span in collector.spans(trace_id):
            if span.service == "lipswap-wav2lip" and span.name == "wav2lip job":
                chain = [span, *collector.above(span)]
                return chain if chain[-1].parent_id == CALLER_SPAN else None
        return None

    chain = wait_until(whole, what="the job's span hangs below the caller's")
    assert list(dict.fromkeys(span.service for span in chain)) == [
        "lipswap-wav2lip",
        "lipswap-orchestrator",
        "lipswap-api",
    ]
    assert chain[-1].name == "POST /run"
