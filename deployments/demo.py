"""The demo: the bundled sample through the whole stack, by HTTP, as any client would."""

import time
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict

from api_shim.client import Client
from deployments.console import Told
from deployments.local.addresses import StackAddresses
from deployments.local.control_plane.local_api import Counters
from deployments.requests import Inputs, follow, upload_all
from gpu_tasks.contract.artifacts import RESULTS, WORK
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.media.contact_sheet import contact_sheet
from gpu_tasks.storage import connect

_COLUMNS = 6
_FRAME_HEIGHT_PX = 180
_RUN_SECONDS = 600.0
_COUNTER_SECONDS = 10.0


class DemoReport(BaseModel):
    """What the demo saw. `gpu_jobs_started` counts jobs that the control plane handed to GPU workers meanwhile."""

    model_config = ConfigDict(frozen=True)

    record: TaskRecord
    run_seconds: float
    gpu_jobs_started: int
    result: Path | None
    compare: Path | None


def run_demo(addresses: StackAddresses, samples: Path, output: Path, told: Told) -> DemoReport:
    """Upload the samples, run them, fetch the result and lay before and after side by side.

    Leaves record.json in `output`, and result.mp4 and compare.png when the run completed.

    Raises:
        FaultError: As the client raises, or MediaError when the result cannot be read.
    """
    output.mkdir(parents=True, exist_ok=True)
    result, compare = output / "result.mp4", output / "compare.png"
    for stale in (result, compare):
        stale.unlink(missing_ok=True)
    target, source = samples / "target.mp4", samples / "source.jpg"
    inputs = Inputs(target=str(target), audio=str(samples / "speech.wav"), sources=(str(source),))
    before, began = _gpu_jobs_started(addresses), time.monotonic()
    with Client(addresses.api_url, secret=addresses.api_secret) as client:
        summary = client.run(upload_all(client, inputs, {"labels": {"made-by": "demo"}}))
        record = follow(client, summary.task_id, told, timeout=_RUN_SECONDS)
        seconds = time.monotonic() - began
        (output / "record.json").write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if record.result:
            client.download(record.result.output_key, result)
            rows = [("source", source), ("target", target), ("result", result)]
            contact_sheet(rows, columns=_COLUMNS, height_px=_FRAME_HEIGHT_PX, destination=compare)
    return DemoReport(
        record=record,
        run_seconds=seconds,
        gpu_jobs_started=_gpu_jobs_started(addresses) - before,
        result=result if record.result else None,
        compare=compare if record.result else None,
    )


def forget_results(addresses: StackAddresses) -> int:
    """Delete what earlier runs left for reuse (receipts, intermediates, task results); return how many objects."""
    store = connect(addresses.r2)
    keys = [key for prefix in (WORK, RESULTS) for key in store.keys(prefix)]
    for key in keys:
        store.delete(key)
    return len(keys)


def _gpu_jobs_started(addresses: StackAddresses) -> int:
    answer = httpx.get(
        f"{addresses.runpod_api_base.removesuffix('/v2')}/local/counters",
        headers={"Authorization": f"Bearer {addresses.runpod_api_key.get_secret_value()}"},
        timeout=_COUNTER_SECONDS,
    )
    answer.raise_for_status()
    counters = Counters.model_validate_json(answer.content)
    return sum(endpoint.started for endpoint in counters.endpoints.values())
