"""The whole way in each look: every place is pictured, and looked at by axe and for width."""

import pytest
from playwright.async_api import Browser, expect

from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack
from tests.ui.browsers import WALK
from tests.ui.pictures import LOOKS, Look, Pictures
from tests.ui.test_looks import PHONE, findings, is_wider_than_the_window
from tests.ui.visitor import Visitor, visiting

pytestmark = pytest.mark.ui

DESKTOP = {"viewport": {"width": 1280, "height": 900}}

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


async def seen(visitor: Visitor, pictures: Pictures, name: str, height: int) -> None:
    width = (visitor.page.viewport_size or {"width": 1280})["width"]
    await visitor.page.set_viewport_size({"width": width, "height": height})
    await visitor.page.mouse.move(0, 0)
    await pictures.keep(visitor.page, name)
    assert await findings(visitor.page) == []
    assert not await is_wider_than_the_window(visitor.page)


@pytest.mark.parametrize("look", LOOKS, ids=[look.name for look in LOOKS])
async def test_every_place_is_seen(stack: RunningStack, browser: Browser, pictures: Pictures, look: Look) -> None:
    language, name, is_phone = look.language, look.name, look.device == "phone"
    # Nothing is seen half on its way.
    still = {"color_scheme": look.scheme, "reduced_motion": "reduce"}
    device = PHONE if is_phone else DESKTOP
    async with visiting(browser, stack.addresses.page_url, language, **still, **device) as someone:
        await someone.open()
        await someone.until_ready()
        await seen(someone, pictures, f"{name}-start", 760 if is_phone else 900)
        await someone.button("hero.example_both").click()
        person = someone.page.get_by_role("button", name=someone.says("cast.face", number=1, percent=100))
        await person.click()
        await someone.page.get_by_label(someone.says("cast.as", number=1, name="source.jpg")).check()
        await someone.give_word("山田 花子" if language is Language.JAPANESE else "Jane Doe")
        await someone.button("preview.frame").click()
        await someone.page.get_by_alt_text(someone.says("preview.alt")).wait_for()
        await expect(someone.page.get_by_label(someone.says("quality.asking"))).to_have_count(0)
        await seen(someone, pictures, f"{name}-compose", 3600 if is_phone else 2150)
        await someone.page.set_viewport_size({"width": 360 if is_phone else 1280, "height": 760 if is_phone else 640})
        await someone.start()
        # A step that has begun to count.
        await someone.page.get_by_role("progressbar", name=someone.says("task.percent")).wait_for()
        await someone.page.wait_for_function("/^[1-9]/.test(document.title)")
        await pictures.keep(someone.page, f"{name}-task")
        await someone.until_done()
        await expect(someone.page.get_by_label(someone.says("result.after"), exact=True)).to_have_js_property(
            "readyState", 4
        )
        await expect(someone.page.get_by_label(someone.says("result.before"), exact=True)).to_have_js_property(
            "readyState", 4
        )
        await seen(someone, pictures, f"{name}-result", 1900 if is_phone else 1750)
        await someone.button("page.history").click()
        await someone.page.get_by_role("heading", name=someone.says("history.title")).wait_for()
        await someone.page.wait_for_function(THUMBS_SHOWN)
        await seen(someone, pictures, f"{name}-history", 760 if is_phone else 640)
