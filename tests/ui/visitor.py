"""A person at the page: what they do, by the words that they read."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from playwright.async_api import Browser, Page, Request, Route, expect

from gpu_tasks.contract.sentences import Language
from ui_panel.text import words

SAMPLES = Path(__file__).parents[2] / "samples"
# A loaded machine takes its time; what is waited for is always a condition.
PATIENCE_MS = 60_000.0
RUN_MS = 180_000.0


@dataclass
class Visitor:
    page: Page
    language: Language
    url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def says(self, text: str, /, **values: object) -> str:
        return words(self.language)[text].format(**values)

    async def open(self, query: str = "") -> None:
        await self.page.goto(f"{self.url}/{query}")
        await self.page.get_by_role("navigation").wait_for()

    async def until_ready(self) -> None:
        await self.page.get_by_role("button", name=self.says("run.start")).wait_for()

    def button(self, text: str, /, **values: object) -> Any:  # noqa: ANN401  # a locator
        return self.page.get_by_role("button", name=self.says(text, **values), exact=True)

    def picker(self, slot: str) -> Any:  # noqa: ANN401  # a locator
        return self.page.get_by_label(re.compile(re.escape(self.says(f"{slot}.drop"))))

    async def give(self, slot: str, *files: str | Path | dict[str, Any]) -> None:
        await self.picker(slot).set_input_files(list(files))

    async def until_given(self, slot: str, name: str) -> None:
        await self.page.get_by_role("button", name=self.says("media.remove", name=name)).wait_for()
        card = self.page.get_by_role("region", name=self.says(f"{slot}.title"), exact=True)
        await expect(card.get_by_role("progressbar")).to_have_count(0)

    async def give_samples(self, *, with_face: bool = True) -> None:
        await self.give("voice", SAMPLES / "speech.wav")
        await self.give("video", SAMPLES / "target.mp4")
        if with_face:
            await self.give("faces", SAMPLES / "source.jpg")
            await self.until_given("faces", "source.jpg")
        await self.until_given("voice", "speech.wav")
        await self.until_given("video", "target.mp4")

    async def give_word(self, name: str = "山田 花子") -> None:
        await self.page.get_by_label(self.says("consent.basis.own_likeness")).check()
        await self.page.get_by_label(self.says("consent.name")).fill(name)

    async def start(self) -> str:
        """Press the button; return the task."""
        await self.button("run.start").click()
        await self.page.wait_for_url(re.compile(r"[?&]task="))
        return self.task_id

    @property
    def task_id(self) -> str:
        return str(re.findall(r"[?&]task=([^&]+)", self.page.url)[0])

    async def until_done(self) -> None:
        await self.page.get_by_role("link", name=self.says("result.download")).wait_for(timeout=RUN_MS)

    async def refuse_first(self, part: str) -> list[str]:
        """Refuse the first signed address with `part` that is asked for, as one that has run out; return it."""
        refused: list[str] = []

        async def answer(route: Route) -> None:
            url = route.request.url
            if route.request.method == "OPTIONS" or part not in url or (refused and refused[0] != url):
                await route.fallback()
                return
            if not refused:
                refused.append(url)
                # One that is signed in the same second is the same.
                await asyncio.sleep(1.1)
            cors = {"Access-Control-Allow-Origin": "*"}
            await route.fulfill(status=403, headers=cors, body="<Code>AccessDenied</Code>")

        await self.page.route(re.compile("X-Amz-Signature"), answer)
        return refused

    def strangers(self, *own: str) -> set[str]:
        """Hosts besides the page's and `own` that were asked for anything."""
        known = {urlparse(url).netloc for url in (self.url, *own)}
        asked = {urlparse(url).netloc for url in self.requests if url.startswith(("http:", "https:", "ws:", "wss:"))}
        return asked - known


@asynccontextmanager
async def visiting(
    browser: Browser,
    url: str,
    language: Language = Language.ENGLISH,
    **options: Any,  # noqa: ANN401  # as Playwright names them
) -> AsyncIterator[Visitor]:
    """Open a new browser without memory; `options` as of a Playwright context."""
    locale = {"locale": "ja-JP" if language is Language.JAPANESE else "en-US"}
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 1400}, **locale, **options})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = await context.new_page()
    visitor = Visitor(page, language, url)
    page.on("request", lambda request: visitor.requests.append(_url_of(request)))
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    try:
        yield visitor
    finally:
        await context.close()


def _url_of(request: Request) -> str:
    return request.url
