"""Many open pages at once, and what is left of them when they are closed."""

import asyncio
import gc
import logging
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser

from gpu_tasks.contract.options import SyncMode
from tests.ports import free_port
from tests.servers import RunningStack
from tests.ui.pages import at_the_page
from tests.ui.sockets import opened_page
from tests.ui.visitor import SAMPLES, visiting
from tests.waiting import await_until
from ui_panel.controller import Controller
from ui_panel.islands import Island
from ui_panel.server import server_of, services_of
from ui_panel.session import Session
from ui_panel.settings import PageSettings
from ui_panel.state import PageState

pytestmark = pytest.mark.ui

_PARTS = frozenset({Controller, Island, PageState, Session})
_TABS = 5
_WATCHERS = 50


async def test_closed_pages_leave_nothing_behind(
    stack: RunningStack, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    # Panel's messages of every event hold the page that it came from, and pytest holds the messages.
    caplog.set_level(logging.INFO, logger="panel")
    settings = PageSettings(api_base_url=stack.addresses.api_url, samples=SAMPLES, port=free_port())
    services = services_of(settings)
    server = server_of(services)
    before = {id(one) for one in _parts()}
    async with services.door:
        # A page that is opened before this is loaded again, and so has had two sessions.
        assert await services.offers.learn_bucket()
        server.start()
        try:
            async with visiting(browser, f"http://127.0.0.1:{settings.port}") as someone:
                await someone.open("?task=00000000-0000-0000-0000-000000000000")
                for _ in range(_TABS - 1):
                    tab = await someone.page.context.new_page()
                    await tab.goto(someone.url)
                    await tab.get_by_role("button", name=someone.says("run.start")).wait_for()
                assert len(server.get_sessions("/")) == _TABS
                assert len([one for one in _parts() if id(one) not in before]) >= 4 * _TABS
            await await_until(lambda: not server.get_sessions("/"), what="no session is left")
            gc.collect()
            assert [one for one in _parts() if id(one) not in before] == []
            assert services.watchers.stream_count == 0
        finally:
            server.stop()


async def test_fifty_pages_share_one_stream_of_a_task(stack: RunningStack) -> None:
    async with at_the_page(stack.addresses.api_url) as (state, controller, _), AsyncExitStack() as pages:
        address = stack.addresses.page_url
        opening = (pages.enter_async_context(opened_page(address)) for _ in range(_WATCHERS))
        watching = await asyncio.gather(*opening)
        await controller.hear({"type": "example", "name": "both"})
        state.param.update(basis="own_likeness", declared_by="x", sync_mode=SyncMode.BOUNCE)
        await controller.hear({"type": "run"})
        task_id = state.task_id
        assert task_id
        # The controller's, in this process; the page's server has one of its own, for all whom it serves.
        await await_until(lambda: _streams_told(stack, task_id) == 1, what="the controller watches")
        for page in watching:
            await page.do({"type": "show", "place": "task", "task_id": task_id})
        async with asyncio.timeout(180):
            await asyncio.gather(*(page.hear_until('"completed"') for page in watching))
        assert _streams_told(stack, task_id) == 2


def _parts() -> list[object]:
    return [one for one in gc.get_objects() if type(one) in _PARTS]


def _streams_told(stack: RunningStack, task_id: str) -> int:
    log = (Path(stack.logs_directory) / "api.log").read_text(encoding="utf-8", errors="replace")
    return log.count(f'"GET /events/{task_id}')
