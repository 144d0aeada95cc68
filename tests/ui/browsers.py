"""The machine's own Chromium, driven by Playwright; nothing is downloaded."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
_ARGUMENTS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A microphone and a camera that need no hardware and no question.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

# On a busy machine.
_START_MS = 120_000.0

# For scripts of tests: `all(document)` walks through shadow roots, too.
WALK = """
  const all = function* (root) {
    for (const el of root.querySelectorAll('*')) { yield el; if (el.shadowRoot) yield* all(el.shadowRoot); }
  };
"""


def chromium_path() -> str:
    """Return the browser; a person's machine without one skips, CI fails."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None and os.path.exists(_MAC):  # noqa: PTH110  # the one place where a Mac keeps it
        found = _MAC
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no Chromium: apt-get install -y chromium", pytrace=False)
        pytest.skip("no Chromium on this machine (apt-get install chromium): the page is not tested in a browser")
    return found


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """A browser without profile."""
    path = chromium_path()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS), timeout=_START_MS)
        try:
            yield browser
        finally:
            await browser.close()
