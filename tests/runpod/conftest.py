"""The target of the contract suite: a local plane, or the real service if the environment names one.

RUNPOD_CONTRACT_URL (https://api.runpod.ai), RUNPOD_CONTRACT_KEY and RUNPOD_CONTRACT_ENDPOINTS, a JSON object
that gives the ids of endpoints running workers/cooperative.py, blocking.py and streaming.py by these names.
"""

import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.runpod.plane import API_KEY, EndpointClient, endpoint, plane_config, running_plane

_REMOTE = os.environ.get("RUNPOD_CONTRACT_URL")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "local_only: needs the plane's own routes, files or processes")
    config.addinivalue_line("markers", "unverified: not documented, or never tried on the real service")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what the real service cannot be asked."""
    for item in items:
        if _REMOTE and item.get_closest_marker("local_only"):
            item.add_marker(
                pytest.mark.skip(reason="needs the plane's own limits or routes, or a receiver that it can call")
            )


@dataclass(frozen=True)
class Target:
    """Where the suite's endpoints are."""

    base_url: str
    api_key: str
    endpoints: dict[str, str]


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The real service if it is configured, else one plane for the whole session."""
    if _REMOTE:
        names = json.loads(os.environ["RUNPOD_CONTRACT_ENDPOINTS"])
        yield Target(_REMOTE, os.environ["RUNPOD_CONTRACT_KEY"], names)
        return
    endpoints = (
        endpoint("cooperative", "cooperative", concurrency=4),
        endpoint("blocking", "blocking"),
        endpoint("streaming", "streaming"),
        endpoint("mortal", "blocking", min_workers=2, max_workers=2),
    )
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints)) as plane:
        yield Target(plane.base_url, API_KEY, {one.id: one.id for one in endpoints})


@pytest.fixture(scope="package")
async def http(target: Target) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the key; every request has a deadline."""
    headers = {"Authorization": f"Bearer {target.api_key}"}
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield session


@pytest.fixture(scope="package")
def cooperative(http: aiohttp.ClientSession, target: Target) -> EndpointClient:
    """Asynchronous handlers, four at once in one worker."""
    return EndpointClient(http, target.base_url, target.endpoints["cooperative"])


@pytest.fixture(scope="package")
def blocking(http: aiohttp.ClientSession, target: Target) -> EndpointClient:
    """Synchronous handlers, one job at a time, one worker."""
    return EndpointClient(http, target.base_url, target.endpoints["blocking"])


@pytest.fixture(scope="package")
def streaming(http: aiohttp.ClientSession, target: Target) -> EndpointClient:
    """A generator that also returns its chunks together."""
    return EndpointClient(http, target.base_url, target.endpoints["streaming"])


@pytest.fixture(scope="package")
def mortal(http: aiohttp.ClientSession, target: Target) -> EndpointClient:
    """Synchronous handlers in two workers, of which tests may kill any. On a local plane only."""
    return EndpointClient(http, target.base_url, target.endpoints["mortal"])


@dataclass
class Hook:
    """A webhook's receiver: what came in, and what to answer next (200 when nothing is listed)."""

    url: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    def of(self, job_id: str) -> list[dict[str, Any]]:
        return [body for body in self.received if body["id"] == job_id]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    """A real server on the loopback that a local plane can call back."""
    hook = Hook()

    async def receive(request: web.Request) -> web.Response:
        hook.received.append(await request.json())
        return web.Response(status=hook.answers.pop(0) if hook.answers else 200)

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield hook
    await runner.cleanup()
