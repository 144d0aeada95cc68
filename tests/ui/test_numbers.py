"""The page in numbers: time to the first usable page, memory of sessions and of a large upload."""

import time
from pathlib import Path

import psutil
import pytest
from playwright.async_api import Browser, BrowserContext

from deployments.local.services import ServiceName
from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack
from tests.ui.pages import page_process
from tests.ui.visitor import PATIENCE_MS, SAMPLES, Visitor, visiting
from tests.waiting import await_until

pytestmark = pytest.mark.bench

_MEGABYTE = 1024 * 1024
_SESSIONS = 20


async def test_the_first_usable_page(stack: RunningStack, browser: Browser) -> None:
    async with visiting(browser, stack.addresses.page_url) as someone:
        took = []
        for _ in range(4):
            began = time.perf_counter()
            await someone.open()
            await someone.until_ready()
            took.append(time.perf_counter() - began)
        first, *again = took
        tell(
            f"first usable page: first visit {first:.2f} s; again {', '.join(f'{seconds:.2f}' for seconds in again)} s"
        )
        assert min(again) < 3.0


async def test_sessions_are_small_and_freed(stack: RunningStack, browser: Browser, tmp_path: Path) -> None:
    settings = {"FF_API_BASE_URL": stack.addresses.api_url, "LIPSWAP_PAGE_SAMPLES": str(SAMPLES)}
    with page_process(tmp_path, settings) as (url, process):
        context = await browser.new_context()
        await _opened(context, url)  # what is made once is made
        before = _memory(process)
        pages = [await _opened(context, url) for _ in range(_SESSIONS)]
        each = (_memory(process) - before) / _SESSIONS
        tell(f"{each / _MEGABYTE:.2f} MB for each of {_SESSIONS} idle sessions")
        assert len(pages) == _SESSIONS
        assert each < 1.5 * _MEGABYTE
        await context.close()
        log = tmp_path / "page.log"
        began = time.monotonic()
        await await_until(
            lambda: log.read_text().count("WebSocket connection closed") >= _SESSIONS + 1,
            what="all are closed",
        )
        # Freed sessions make room: as many again fit into what the first ones took.
        context = await browser.new_context()
        await await_until(lambda: time.monotonic() - began > 25, what="closed sessions were looked at")
        full = _memory(process)
        for _ in range(_SESSIONS):
            await _opened(context, url)
        again = (_memory(process) - full) / _SESSIONS
        tell(f"{again / _MEGABYTE:.2f} MB for each of as many more, after all were closed")
        assert again < 0.5 * _MEGABYTE
        await context.close()


async def test_a_large_upload_leaves_the_server_as_it_was(
    stack: RunningStack, browser: Browser, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.write((SAMPLES / "target.mp4").read_bytes())
        file.truncate(500 * _MEGABYTE)
    process = psutil.Process(stack.pids()[ServiceName.PAGE])
    async with visiting(browser, stack.addresses.page_url) as someone:
        await someone.open()
        await someone.until_ready()
        before = _memory(process)
        peak = before
        await someone.give("video", large)
        bar = someone.page.get_by_role("progressbar", name=someone.says("upload.name", name="large.mp4"))
        await bar.wait_for()
        began = time.perf_counter()
        while await bar.count():
            peak = max(peak, _memory(process))
        await someone.until_given("video", "large.mp4")
        took = time.perf_counter() - began
        tell(f"500 MB in {took:.0f} s; the server grew by {(peak - before) / _MEGABYTE:.1f} MB at most")
        assert peak - before < 10 * _MEGABYTE


async def _opened(context: BrowserContext, url: str) -> Visitor:
    context.set_default_timeout(PATIENCE_MS)
    visitor = Visitor(await context.new_page(), Language.ENGLISH, url)
    await visitor.open()
    await visitor.until_ready()
    return visitor


def _memory(process: psutil.Process) -> int:
    return int(process.memory_full_info().uss)


def tell(figure: str) -> None:
    print(f"\n{figure}")  # noqa: T201  # a benchmark's figures are its output
