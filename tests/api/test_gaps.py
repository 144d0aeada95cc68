"""Nothing is taken in that would only wait in vain, as flows found it; an outage that passes is no reason."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from blocks.endpoint_health import EndpointHealth, EndpointReading
from blocks.job_store import JobStore
from blocks.key_refusal import note_key_refused
from tests.api.shim import PREFIX

Body = dict[str, Any]


@pytest.fixture(autouse=True)
async def forgotten(redis: Redis) -> AsyncIterator[None]:
    """What is found here is not what other tests start from."""
    yield
    await redis.delete(
        *(f"{PREFIX}:{name}" for name in ("runpod-key-refused", "endpoint:wav2lip", "endpoint:facefusion"))
    )


def reading(endpoint_id: str, workers: dict[str, int]) -> EndpointReading:
    return EndpointReading.of(endpoint_id, EndpointHealth(jobs={"inQueue": 3}, workers=workers), now=datetime.now(UTC))


async def test_an_endpoint_without_any_worker_is_said_with_its_name(
    http: httpx.AsyncClient, body: Body, keys: dict[str, str], job_store: JobStore
) -> None:
    await job_store.note_endpoint_health(reading("facefusion", {}))
    # Lip-sync alone does not go there.
    assert (await http.post("/run", json=body)).status_code == 202
    refused = await http.post("/run", json={**body, "source_keys": [keys["source"]]})
    assert (refused.status_code, refused.json()["error"]) == (503, "runpod_no_workers")
    assert "RUNPOD_FACEFUSION_ENDPOINT" in refused.json()["detail"]


@pytest.mark.parametrize("workers", [{"throttled": 1}, {"initializing": 1}, {"ready": 1}])
async def test_an_endpoint_that_may_serve_again_is_waited_for(
    http: httpx.AsyncClient, body: Body, job_store: JobStore, workers: dict[str, int]
) -> None:
    await job_store.note_endpoint_health(reading("wav2lip", workers))
    assert (await http.post("/run", json=body)).status_code == 202


async def test_a_key_that_runpod_refuses_is_said_so(
    http: httpx.AsyncClient, body: Body, job_store: JobStore, task_id: str
) -> None:
    await note_key_refused(job_store)
    refused = await http.post("/run", json=body)
    assert (refused.status_code, refused.json()["error"]) == (503, "runpod_key_refused")
    # What was taken in before goes on, and is told.
    assert (await http.get(f"/status/{task_id}")).status_code == 200
