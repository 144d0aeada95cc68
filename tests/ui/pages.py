"""A page of one's own, beside the stack's: with other settings, to be measured, or without a browser."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import psutil

from tests.ports import held_port
from tests.ui.visitor import SAMPLES
from tests.waiting import wait_until
from ui_panel.controller import Controller
from ui_panel.server import services_of
from ui_panel.session import Services
from ui_panel.settings import PageSettings
from ui_panel.state import PageState


@contextmanager
def page_process(
    folder: Path, environment: Mapping[str, str], *, port: int | None = None
) -> Iterator[tuple[str, psutil.Process]]:
    """`python -m ui_panel`; yields its address and its process."""
    with held_port() as own, (folder / "page.log").open("wb") as log:
        port = port or own
        process = subprocess.Popen(
            [sys.executable, "-m", "ui_panel"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LIPSWAP_PAGE_PORT": str(port),
                **environment,
            },
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: process.poll() is not None or _is_up(url), seconds=120, what="the page answers")
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/door/alive", timeout=10).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def at_the_page(api_url: str) -> AsyncIterator[tuple[PageState, Controller, Services]]:
    """What a session has, in this process: nothing is drawn."""
    services = services_of(PageSettings(api_base_url=api_url, samples=SAMPLES, poll_interval=0.1))
    state = PageState()
    spawned: set[asyncio.Task[None]] = set()

    def spawn(work) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  # a coroutine
        spawned.add(asyncio.create_task(work))

    async with services.door:
        controller = Controller(
            state, services.door, services.watchers, services.examples, services.offers, spawn=spawn
        )
        try:
            yield state, controller, services
        finally:
            controller.close()
            await asyncio.gather(*spawned, return_exceptions=True)
