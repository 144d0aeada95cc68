"""The pictures of the documentation, made by going the whole way; each place is also looked at by axe and for width."""

import asyncio
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.async_api import Browser, Page, expect

from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack
from tests.ui.browsers import WALK
from tests.ui.test_looks import PHONE, findings, is_wider_than_the_window
from tests.ui.visitor import Visitor, visiting

pytestmark = pytest.mark.ui

FOLDER = Path(__file__).parents[2] / "docs" / "screenshots"
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
_QUALITY = 72
_WIDEST_PX = 1280


# The films of all cards in sight show a picture.
THUMBS_SHOWN = (
    "() => {"
    + WALK
    + """
  const isSeen = el => el.matches('.thumb video') && el.getBoundingClientRect().top < innerHeight;
  const films = Array.from(all(document)).filter(isSeen);
  return films.length > 0 && films.every(film => film.readyState >= 2 && !film.seeking);
}"""
)


async def picture(page: Page, name: str) -> None:
    """Keep what is seen as a small file."""
    shot = await page.screenshot(animations="disabled")
    pixels = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    if pixels.shape[1] > _WIDEST_PX:
        pixels = cv2.resize(pixels, None, fx=_WIDEST_PX / pixels.shape[1], fy=_WIDEST_PX / pixels.shape[1])
    _, packed = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    await asyncio.to_thread((FOLDER / f"{name}.webp").write_bytes, packed.tobytes())


async def seen(visitor: Visitor, name: str, height: int) -> None:
    width = (visitor.page.viewport_size or {"width": 1280})["width"]
    await visitor.page.set_viewport_size({"width": width, "height": height})
    await visitor.page.mouse.move(0, 0)
    await picture(visitor.page, name)
    assert await findings(visitor.page) == []
    assert not await is_wider_than_the_window(visitor.page)


@pytest.mark.parametrize(
    ("language", "scheme", "device", "name"),
    [
        (Language.JAPANESE, "light", DESKTOP, "ja-light-desktop"),
        (Language.ENGLISH, "dark", DESKTOP, "en-dark-desktop"),
        (Language.JAPANESE, "dark", PHONE, "ja-dark-phone"),
        (Language.ENGLISH, "light", PHONE, "en-light-phone"),
    ],
)
async def test_every_place_is_seen(  # noqa: PLR0913, PLR0917  # what a parametrised test is given
    stack: RunningStack, browser: Browser, language: Language, scheme: str, device: dict[str, Any], name: str
) -> None:
    is_phone = device is PHONE
    # Nothing is seen half on its way.
    still = {"color_scheme": scheme, "reduced_motion": "reduce"}
    async with visiting(browser, stack.addresses.page_url, language, **still, **device) as someone:
        await someone.open()
        await someone.until_ready()
        await seen(someone, f"{name}-start", 760 if is_phone else 900)
        await someone.button("hero.example_both").click()
        person = someone.page.get_by_role("button", name=someone.says("cast.face", number=1, percent=100))
        await person.click()
        await someone.page.get_by_label(someone.says("cast.as", number=1, name="source.jpg")).check()
        await someone.give_word("山田 花子" if language is Language.JAPANESE else "Jane Doe")
        await someone.button("preview.frame").click()
        await someone.page.get_by_alt_text(someone.says("preview.alt")).wait_for()
        await expect(someone.page.get_by_label(someone.says("quality.asking"))).to_have_count(0)
        await seen(someone, f"{name}-compose", 3600 if is_phone else 2150)
        await someone.page.set_viewport_size({"width": 360 if is_phone else 1280, "height": 760 if is_phone else 640})
        await someone.start()
        # A step that has begun to count.
        await someone.page.get_by_role("progressbar", name=someone.says("task.percent")).wait_for()
        await someone.page.wait_for_function("/^[1-9]/.test(document.title)")
        await picture(someone.page, f"{name}-task")
        await someone.until_done()
        await expect(someone.page.get_by_label(someone.says("result.after"), exact=True)).to_have_js_property(
            "readyState", 4
        )
        await expect(someone.page.get_by_label(someone.says("result.before"), exact=True)).to_have_js_property(
            "readyState", 4
        )
        await seen(someone, f"{name}-result", 1900 if is_phone else 1750)
        await someone.button("page.history").click()
        await someone.page.get_by_role("heading", name=someone.says("history.title")).wait_for()
        await someone.page.wait_for_function(THUMBS_SHOWN)
        await seen(someone, f"{name}-history", 760 if is_phone else 640)
