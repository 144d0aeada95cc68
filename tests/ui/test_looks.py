"""How the page looks and reads: light and dark, wide and narrow, by key and by ear; and what it may load."""

import asyncio
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack
from tests.ui.browsers import WALK
from tests.ui.visitor import Visitor, visiting

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SETTLED = """
Promise.all(document.getAnimations({subtree: true}).filter(a => a.effect.getTiming().iterations !== Infinity)
  .map(a => a.finished.catch(() => {})))
"""
FOCUSED = """() => {
  let el = document.activeElement;
  while (el?.shadowRoot?.activeElement) el = el.shadowRoot.activeElement;
  return el.getAttribute('aria-label') || el.textContent.trim() || el.name || el.type;
}"""
SERIOUS = {"serious", "critical"}
_PHONE_SIZE = {"width": 360, "height": 760}
PHONE: dict[str, Any] = {"viewport": _PHONE_SIZE, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


async def findings(page: Page) -> list[str]:
    """What axe says against the page, of what is serious."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    # Colours that are just changing are no one's colours.
    await page.evaluate(SETTLED)
    found: dict[str, Any] = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{finding['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for finding in found["violations"]
        if finding["impact"] in SERIOUS
        for node in finding["nodes"]
    ]


async def is_wider_than_the_window(page: Page) -> bool:
    """Whether anything can be scrolled sideways, in Material's own scroller included."""
    return bool(
        await page.evaluate(
            "() => {"
            + WALK
            + """
              return [document.documentElement, ...all(document)].some(el =>
                el.scrollWidth > el.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(el).overflowX)
                || el === document.documentElement && el.scrollWidth > innerWidth);
            }"""
        )
    )


@pytest.mark.parametrize("language", Language)
async def test_nothing_serious_keeps_anybody_out(stack: RunningStack, browser: Browser, language: Language) -> None:
    for scheme in ("light", "dark"):
        async with visiting(browser, stack.addresses.page_url, language, color_scheme=scheme) as someone:
            await someone.open()
            await someone.until_ready()
            assert await someone.page.evaluate("document.documentElement.lang") == language.value
            found = await findings(someone.page)
            if found:
                # What was just appearing has appeared.
                await asyncio.sleep(2)
                found = await findings(someone.page)
            assert found == []
            await expect(someone.page.get_by_role("heading", level=1)).to_have_count(1)


async def test_a_narrow_phone_needs_no_sideways_scrolling(stack: RunningStack, browser: Browser) -> None:
    for language in Language:
        async with visiting(browser, stack.addresses.page_url, language, **PHONE) as someone:
            await someone.open()
            await someone.until_ready()
            assert not await is_wider_than_the_window(someone.page)
            await expect(someone.button("page.history")).to_be_in_viewport()


@pytest.mark.ui
async def test_what_is_shown_begins_below_the_header(stack: RunningStack, browser: Browser) -> None:
    for device in (PHONE, {}):
        async with visiting(browser, stack.addresses.page_url, **device) as someone:
            await someone.open("?place=history")
            heading = someone.page.get_by_role("heading", name=someone.says("history.title"))
            await heading.wait_for()
            above = await someone.page.get_by_role("navigation").bounding_box()
            first = await heading.bounding_box()
            assert above
            assert first
            # Parts that are not shown leave no room.
            assert 0 <= first["y"] - (above["y"] + above["height"]) < 48


@pytest.mark.ui
async def test_dark_follows_the_system_and_a_choice_is_remembered(stack: RunningStack, browser: Browser) -> None:
    async with visiting(browser, stack.addresses.page_url, color_scheme="dark") as someone:
        await someone.open()
        await expect(someone.page.locator("html")).to_have_attribute("data-theme", "dark")
        await someone.button("page.theme_light").click()
        await expect(someone.page.locator("html")).to_have_attribute("data-theme", "light")
        await someone.page.reload()
        await someone.until_ready()
        await expect(someone.page.locator("html")).to_have_attribute("data-theme", "light")


@pytest.mark.ui
async def test_the_language_changes_at_a_click(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.page.get_by_role("link", name=visitor.says("page.language")).click()
    await visitor.page.get_by_role("button", name="動画をつくる").wait_for()
    await expect(visitor.page).to_have_url(re.compile("lang=ja"))


@pytest.mark.ui
async def test_the_whole_form_is_reached_by_key(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.until_ready()
    reached = []
    for _ in range(30):
        await visitor.page.keyboard.press("Tab")
        reached.append(await visitor.page.evaluate(FOCUSED))
    wanted = (visitor.says("page.create"), visitor.says("hero.example_both"), visitor.says("voice.record"), "preset")
    assert [name for name in wanted if name not in reached] == []
    for slot in ("voice", "video", "faces"):
        assert any(name.startswith(visitor.says(f"{slot}.drop")) for name in reached)


@pytest.mark.ui
async def test_a_second_visit_transfers_what_is_shown_and_no_file_again(visitor: Visitor) -> None:
    context = visitor.page.context
    first = await transferred(Visitor(await context.new_page(), visitor.language, visitor.url))
    again = await transferred(Visitor(await context.new_page(), visitor.language, visitor.url))
    assert sum(first.values()) > 500_000
    # What the page shows comes by its websocket at every visit.
    shown = sum(size for url, size in again.items() if url.startswith("ws:"))
    assert 50_000 < shown < 250_000
    assert sum(again.values()) - shown < 50_000, again
    # Neither is any large file asked about: a question costs the time of an answer.
    large = {url for url, size in first.items() if size > 20_000 and not url.startswith("ws:")}
    assert len(large) >= 4
    assert [url for url in large if again.get(url, 0) > 0] == []


async def transferred(visitor: Visitor) -> dict[str, int]:
    """Open the page and close it; return the bytes that came over the wire, headers included, by address.

    What came from the browser's own memory counts as 0; messages of a websocket count as long as they are.
    """
    came: dict[str, int] = defaultdict(int)
    addresses: dict[str, str] = {}
    network = await visitor.page.context.new_cdp_session(visitor.page)
    network.on("Network.requestWillBeSent", lambda told: addresses.update({told["requestId"]: told["request"]["url"]}))
    network.on("Network.webSocketCreated", lambda told: addresses.update({told["requestId"]: told["url"]}))

    def count(request_id: str, size: int) -> None:
        # blob: and data: addresses lie in the page already.
        if (url := addresses.get(request_id, "")).startswith(("http:", "ws:")):
            came[url] += size

    network.on("Network.loadingFinished", lambda told: count(told["requestId"], int(told["encodedDataLength"])))
    network.on(
        "Network.webSocketFrameReceived",
        lambda told: count(told["requestId"], len(told["response"]["payloadData"])),
    )
    await network.send("Network.enable")
    await visitor.open()
    await visitor.until_ready()
    await visitor.page.wait_for_load_state("networkidle")
    await visitor.page.close()
    return came


@pytest.mark.ui
@pytest.mark.parametrize("packing", ["br", "gzip"])
async def test_the_first_page_is_light_however_it_is_packed(visitor: Visitor, packing: str) -> None:
    await visitor.open()
    await visitor.until_ready()
    await visitor.page.wait_for_load_state("load")
    weight = 0
    async with httpx.AsyncClient(headers={"Accept-Encoding": packing}) as http:
        for url in {url for url in visitor.requests if url.startswith(visitor.url)}:
            async with http.stream("GET", url) as answer:
                weight += len(b"".join([chunk async for chunk in answer.aiter_raw()]))
                weight += sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
    assert 0.5e6 < weight < 1.2e6


async def test_every_answer_says_what_it_may_do(stack: RunningStack) -> None:
    async with httpx.AsyncClient(base_url=stack.addresses.page_url, timeout=60) as http:
        for path in ("/", "/assets/0/base.js", "/static/js/bokeh.min.js", "/nowhere"):
            answer = await http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert f"connect-src 'self' {stack.addresses.s3_endpoint}" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert "server" not in answer.headers
        # A form on another site cannot ask for anything.
        refused = await http.post("/door/uploads", json={"slot": "video", "name": "a.mp4", "size": 1})
        assert refused.status_code == httpx.codes.FORBIDDEN
