"""A task that runs while much happens to those who watch it."""

import re
import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Route, expect

from deployments.local.services import ServiceName
from gpu_tasks.contract.sentences import Language
from tests.ports import free_port
from tests.servers import RunningStack
from tests.ui.older import older_api
from tests.ui.pages import page_process
from tests.ui.visitor import RUN_MS, SAMPLES, Visitor, visiting
from tests.waiting import await_until

pytestmark = pytest.mark.ui

# The browser's own notifications, noted; and a window that is behind others when `isAway` says so.
NOTED = """
  globalThis.noted = [];
  globalThis.Notification = class extends Notification {
    constructor(title, options) { super(title, options); globalThis.noted.push({title, ...options}); }
  };
  Object.defineProperty(document, 'hidden', {get: () => globalThis.isAway === true});
"""


# The clip goes on for some steps of its clock.
PLAYS_ON = """film => new Promise(done => {
  film.muted = true;
  film.addEventListener('timeupdate', () => { if (film.currentTime > 0.2) { film.pause(); done(); } });
  film.play();
})"""
FAILS = """film => new Promise(done => {
  film.addEventListener('error', () => done(), {once: true});
  film.load();
})"""


async def run_out(film: Locator, refused: list[str]) -> None:
    """Let the next address of a film be refused, as one that was signed long ago."""
    refused.clear()
    await film.evaluate(FAILS)
    assert len(refused) == 1


async def begun(visitor: Visitor, example: str = "both", mode: str = "silence") -> str:
    """Start an example; another sync mode is another job, so that it is computed and not remembered."""
    await visitor.open()
    await visitor.button(f"hero.example_{example}").click()
    await visitor.until_given("video", "target.mp4")
    if example != "swap":
        await visitor.page.get_by_label(visitor.says(f"sync.{mode}")).check()
    await visitor.give_word()
    await expect(visitor.button("run.start")).to_be_enabled()
    return await visitor.start()


async def give_what_is_no_film(visitor: Visitor, name: str = "broken.mp4") -> None:
    """Everything for a run that will fail: the film has the name of one."""
    await visitor.give("video", {"name": name, "mimeType": "video/mp4", "buffer": b"no film" * 100})
    await visitor.until_given("video", name)
    await visitor.give("voice", SAMPLES / "speech.wav")
    await visitor.until_given("voice", "speech.wav")
    await visitor.give_word()


async def test_the_link_leads_others_to_the_same_task(visitor: Visitor, browser: Browser) -> None:
    task_id = await begun(visitor, mode="cut_off")
    async with visiting(browser, visitor.url, Language.JAPANESE) as other:
        await other.open(f"?task={task_id}")
        await other.until_done()
        await expect(other.page).to_have_title(re.compile("^✓ "))
    await visitor.until_done()


async def test_a_reload_and_a_new_server_change_nothing(visitor: Visitor, stack: RunningStack) -> None:
    task_id = await begun(visitor, mode="remap")
    await visitor.page.reload()
    await visitor.page.get_by_role("navigation").wait_for()
    assert visitor.task_id == task_id
    # The page's server dies while it is open: the page finds the new one by itself.
    stack.kill(ServiceName.PAGE)
    await expect(visitor.page.get_by_text(visitor.says("page.lost"))).to_be_visible()
    await visitor.until_done()
    assert visitor.task_id == task_id


async def test_an_api_that_is_away_is_told_and_found(browser: Browser, tmp_path: Path) -> None:
    port = free_port()
    with page_process(tmp_path, {"FF_API_BASE_URL": f"http://127.0.0.1:{port}"}) as (url, _):
        async with visiting(browser, url) as someone:
            await someone.open()
            await expect(someone.page.get_by_text(someone.says("page.away"))).to_be_visible()
            with older_api(port):
                await expect(someone.page.get_by_text(someone.says("page.away"))).to_have_count(0)


async def test_a_page_outlives_an_api_that_dies(visitor: Visitor, stack: RunningStack) -> None:
    await visitor.open()
    await visitor.give_word("Jane")
    stack.kill(ServiceName.API)
    stack.until_ready(ServiceName.API)
    await visitor.give_samples(with_face=False)
    await expect(visitor.button("run.start")).to_be_enabled()


async def test_a_task_is_cancelled_after_a_question(visitor: Visitor) -> None:
    await begun(visitor, "lips", mode="silence")
    await visitor.button("task.cancel").first.click()
    await visitor.button("task.cancel_no").click()
    await visitor.button("task.cancel").first.click()
    await visitor.page.get_by_role("dialog").get_by_role("button", name=visitor.says("task.cancel"), exact=True).click()
    await expect(visitor.page.get_by_role("heading", name=visitor.says("task.cancelled"), exact=True)).to_be_visible()


async def test_an_unknown_task_is_told_in_words(japanese: Visitor) -> None:
    await japanese.open("?task=00000000-0000-0000-0000-000000000000")
    await expect(japanese.page.get_by_text(japanese.says("task.unknown"))).to_be_visible()
    await japanese.button("task.new").click()
    await japanese.until_ready()


async def test_a_task_that_fails_says_why_and_what_to_do(japanese: Visitor, visitor: Visitor) -> None:
    # And its name stays a name, here as in the list of tasks.
    name = '"><img src=x onerror=document.title=1>.mp4'
    await japanese.open()
    await give_what_is_no_film(japanese, name)
    task_id = await japanese.start()
    await expect(japanese.page.get_by_role("heading", name=japanese.says("task.failed"))).to_be_visible()
    await expect(
        japanese.page.get_by_text(
            re.compile("^動画: この種類のメディアには対応していません。.*保存し直してください。$")
        )
    ).to_be_visible()
    await visitor.open(f"?task={task_id}")
    await expect(
        visitor.page.get_by_text(re.compile("^Video: This kind of media is not supported; save it as MP4")).first
    ).to_be_visible()
    await expect(visitor.page.get_by_text(name)).to_be_visible()
    await visitor.button("page.history").click()
    await expect(visitor.page.get_by_text(name, exact=True).first).to_be_visible()
    assert await visitor.page.title() != "1"


async def test_a_result_is_changed_run_again_and_deleted(visitor: Visitor) -> None:
    task_id = await begun(visitor, mode="bounce")
    await visitor.until_done()
    await visitor.button("task.again").click()
    await visitor.page.wait_for_url(lambda url: "task=" in url and task_id not in url)
    await visitor.until_done()
    second = visitor.task_id

    await visitor.button("task.change").click()
    await visitor.until_given("video", "target.mp4")
    await expect(visitor.page.get_by_label(visitor.says("sync.bounce"))).to_be_checked()
    # Consent is declared anew: records do not hold it.
    await expect(visitor.button("run.start")).to_be_disabled()

    await visitor.open(f"?task={second}")
    await visitor.until_done()
    await visitor.button("task.delete").first.click()
    await visitor.page.get_by_role("dialog").get_by_role("button", name=visitor.says("task.delete"), exact=True).click()
    await expect(visitor.page.get_by_role("heading", name=visitor.says("history.title"))).to_be_visible()
    await visitor.open(f"?task={second}")
    await expect(visitor.page.get_by_text(visitor.says("task.unknown"))).to_be_visible()


async def test_history_is_filtered(visitor: Visitor) -> None:
    await visitor.open("?place=history")
    await visitor.page.get_by_text(visitor.says("status.failed"), exact=True).first.click()
    tiles = visitor.page.get_by_role("button", name=re.compile(r"\.mp4"))
    await expect(tiles.filter(has_text=visitor.says("status.completed"))).to_have_count(0)


async def test_the_end_is_told_when_nobody_looks(stack: RunningStack, browser: Browser) -> None:
    async with visiting(browser, stack.addresses.page_url, permissions=["notifications"]) as someone:
        await someone.page.add_init_script(NOTED)
        task_id = await begun(someone, mode="silence")
        await expect(someone.page).to_have_title(re.compile(r"^(\N{HORIZONTAL ELLIPSIS}|\d+%) Lipswap$"))
        # Somewhere else on the page, and in another window.
        await someone.button("page.create").click()
        await someone.page.evaluate("globalThis.isAway = true")
        chip = someone.page.get_by_role("button", name=re.compile(f"target.mp4.*{someone.says('status.completed')}"))
        await chip.wait_for(timeout=RUN_MS)
        assert await someone.page.evaluate("globalThis.noted") == [
            {"title": someone.says("task.ready_title"), "tag": task_id, "body": "target.mp4"}
        ]
        await expect(someone.page).to_have_title(re.compile("^\N{CHECK MARK} "))
        await chip.click()
        await someone.until_done()
        await expect(chip).to_have_count(0)


async def test_a_failure_is_told_and_seen_in_the_title(stack: RunningStack, browser: Browser) -> None:
    async with visiting(browser, stack.addresses.page_url, permissions=["notifications"]) as someone:
        await someone.page.add_init_script(NOTED)
        await someone.open()
        await give_what_is_no_film(someone)
        await someone.page.evaluate("globalThis.isAway = true")
        task_id = await someone.start()
        await expect(someone.page).to_have_title(re.compile("^! "))
        assert await someone.page.evaluate("globalThis.noted") == [
            {"title": someone.says("task.failed_title"), "tag": task_id, "body": "broken.mp4"}
        ]


async def test_an_address_of_a_result_that_has_run_out_is_signed_anew(visitor: Visitor) -> None:
    await begun(visitor, "lips", mode="cut_off")
    await visitor.until_done()
    refused = await visitor.refuse_first("/outputs/")
    await visitor.page.reload()
    film = visitor.page.get_by_label(visitor.says("result.after"), exact=True)
    await expect(film).to_have_js_property("readyState", 4)
    assert len(refused) == 1


async def test_a_target_that_is_gone_leaves_the_result_its_own_tries(visitor: Visitor) -> None:
    await begun(visitor, "lips", mode="cut_off")
    await visitor.until_done()
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(status=404, headers={"Access-Control-Allow-Origin": "*"}, body="<Code>NoSuchKey</Code>")

    await visitor.page.route(re.compile(r"/uploads/video/.*X-Amz-Signature"), answer)
    await visitor.page.reload()
    film = visitor.page.get_by_label(visitor.says("result.after"), exact=True)
    await expect(film).to_have_js_property("readyState", 4)
    await await_until(lambda: len(asked) == 3, what="the target is asked for twice more")
    refused = await visitor.refuse_first("/outputs/")
    for _ in range(3):
        await run_out(film, refused)
        await expect(film).to_have_js_property("readyState", 4)
        await film.evaluate(PLAYS_ON)


async def test_a_film_that_breaks_behind_its_first_picture_is_not_asked_for_for_ever(visitor: Visitor) -> None:
    await begun(visitor, "lips", mode="cut_off")
    await visitor.until_done()
    film = visitor.page.get_by_label(visitor.says("result.after"), exact=True)
    refused = await visitor.refuse_first("/outputs/")
    for _ in range(2):
        await run_out(film, refused)
        await expect(film).to_have_js_property("readyState", 4)
    await run_out(film, refused)
    # What is asked for later is answered later.
    await visitor.button("badge.verify").click()
    await visitor.page.get_by_text(visitor.says("badge.development")).wait_for()
    assert await film.evaluate("film => film.error?.code") == 4


async def _another_second() -> None:
    now = int(time.time())
    await await_until(lambda: int(time.time()) > now, what="another second has begun")


async def test_an_address_of_an_input_may_run_out_more_than_once(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")
    refused = await visitor.refuse_first("/uploads/video/")
    await visitor.page.reload()
    film = visitor.page.get_by_label(visitor.says("media.preview", name="target.mp4"), exact=True)
    for _ in range(2):
        await expect(film).to_have_js_property("readyState", 4)
        assert len(refused) == 1
        # It has played, and its new address runs out in turn. Two that are signed within one second are the same.
        await _another_second()
        refused.clear()
        await film.evaluate("film => film.load()")
    await expect(film).to_have_js_property("readyState", 4)
    assert len(refused) == 1


async def test_two_tabs_keep_apart_what_is_theirs(visitor: Visitor) -> None:
    await visitor.open()
    second = Visitor(await visitor.page.context.new_page(), visitor.language, visitor.url)
    await second.open()
    await visitor.give("voice", SAMPLES / "speech.wav")
    await second.give("faces", SAMPLES / "source.jpg")
    await visitor.until_given("voice", "speech.wav")
    await second.until_given("faces", "source.jpg")
    for tab in (visitor, second):
        await tab.page.reload()
    await visitor.until_given("voice", "speech.wav")
    await second.until_given("faces", "source.jpg")
    await expect(visitor.button("media.remove", name="source.jpg")).to_have_count(0)
    await expect(second.button("media.remove", name="speech.wav")).to_have_count(0)

    for tab, name in ((visitor, "speech.wav"), (second, "source.jpg")):
        await tab.button("media.remove", name=name).click()
        # Nothing is left, and examples are offered again.
        await tab.button("hero.example_lips").wait_for()
    started = [await begun(tab, "lips", mode="cut_off") for tab in (visitor, second)]
    for tab, task_id in zip((visitor, second), started, strict=True):
        await tab.until_done()
        assert tab.task_id == task_id
    # Both are remembered by the browser, whichever tab wrote last.
    assert set(started) <= set(await visitor.page.evaluate("JSON.parse(localStorage.getItem('lipswap.mine'))"))
