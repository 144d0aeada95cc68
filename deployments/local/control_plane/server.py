"""Puts the plane together and runs it for as long as its context is open."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from deployments.local.control_plane.client_api import ClientApi
from deployments.local.control_plane.door import key_required
from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.local_api import LocalApi
from deployments.local.control_plane.processes import Warden, WorkerSurroundings
from deployments.local.control_plane.settings import ControlPlaneConfig
from deployments.local.control_plane.store import Store
from deployments.local.control_plane.supervisor import Supervisor, kill_leftovers
from deployments.local.control_plane.webhooks import Webhooks
from deployments.local.control_plane.worker_api import WorkerApi

log = logging.getLogger(__name__)

_BACKLOG = 1024
_LAST_ANSWERS_SECONDS = 0.5


@dataclass(frozen=True)
class ControlPlane:
    """A running plane. `supervision` never ends by itself: when it is done, something is broken."""

    base_url: str
    supervision: asyncio.Task[None]


@contextlib.asynccontextmanager
async def control_plane(config: ControlPlaneConfig, inherited: Mapping[str, str]) -> AsyncIterator[ControlPlane]:
    """Serve `config`; workers get what is allowed of the `inherited` environment.

    On leaving, every worker is killed first and the answers that are still held end after half a second.
    """
    config.log_dir.mkdir(parents=True, exist_ok=True)
    config.address_file.unlink(missing_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(Store.open(config.database))
        await kill_leftovers(store)
        webhooks = await stack.enter_async_context(Webhooks(config.limits))
        endpoints = {
            endpoint.id: Endpoint(endpoint, config.limits, config.timings, store, webhooks.announce)
            for endpoint in config.endpoints
        }
        base_url = await stack.enter_async_context(_serving(config, endpoints))
        warden = await Warden.start(inherited)
        stack.push_async_callback(warden.close)
        supervisor = Supervisor(config, endpoints.values(), store, warden, _surroundings(config, base_url, inherited))
        stack.push_async_callback(supervisor.stop)
        supervision = await stack.enter_async_context(_background(supervisor.run()))
        _write_whole(config.address_file, base_url)
        stack.callback(config.address_file.unlink, missing_ok=True)
        log.info("serving %s at %s", ", ".join(endpoints), base_url)
        yield ControlPlane(base_url, supervision)


@contextlib.asynccontextmanager
async def _serving(config: ControlPlaneConfig, endpoints: Mapping[str, Endpoint]) -> AsyncIterator[str]:
    app = web.Application(
        client_max_size=config.limits.result_bytes,  # the library's default of 1 MB would lose results
        middlewares=[key_required(config.api_key.get_secret_value())],
    )
    for api in (ClientApi(endpoints), WorkerApi(endpoints), LocalApi(endpoints)):
        app.add_routes(api.routes())
    runner = web.AppRunner(
        app,
        handler_cancellation=True,  # a held poll ends with its worker
        access_log=None,
        shutdown_timeout=_LAST_ANSWERS_SECONDS,  # the default of 60 s would wait for every held poll
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, str(config.host), config.port, backlog=_BACKLOG).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def _surroundings(config: ControlPlaneConfig, base_url: str, inherited: Mapping[str, str]) -> WorkerSurroundings:
    home = config.database.parent / "worker-home"
    home.mkdir(mode=0o700, exist_ok=True)
    return WorkerSurroundings(
        base_url=base_url,
        api_key=config.api_key.get_secret_value(),
        home=home,
        ping_interval_seconds=config.timings.ping_interval_seconds,
        inherited=inherited,
    )


def _write_whole(path: Path, text: str) -> None:
    """A reader sees the whole address or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
