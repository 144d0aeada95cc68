"""From three files to a result that is seen, compared, downloaded and found again."""

import re

import pytest
from playwright.async_api import expect

from tests.servers import RunningStack
from tests.ui.visitor import SAMPLES, Visitor


async def test_three_files_become_a_video(japanese: Visitor, stack: RunningStack) -> None:
    someone = japanese
    await someone.open()
    await someone.give_samples()
    await someone.give_word()
    task_id = await someone.start()
    await someone.until_done()

    # The film plays, from the bucket, and can be wound.
    film = someone.page.get_by_label(someone.says("result.after"), exact=True)
    await expect(film).to_have_js_property("readyState", 4)
    await someone.page.get_by_role("slider", name=someone.says("result.seek")).fill("3")
    await someone.page.wait_for_function(
        "film => Math.abs(film.currentTime - 3) < 0.1", arg=await film.element_handle()
    )

    # The line between before and after moves by key.
    line = someone.page.get_by_role("slider", name=someone.says("result.wipe"))
    await line.focus()
    await line.press("ArrowLeft")
    await expect(line).to_have_value("49")
    before = someone.page.get_by_label(someone.says("result.before"), exact=True)
    await expect(before).to_have_css("clip-path", re.compile(r"inset\(0px 51% 0px 0px\)"))

    async with someone.page.expect_download() as downloading:
        await someone.page.get_by_role("link", name=someone.says("result.download")).click()
    download = await downloading.value
    assert re.fullmatch(r"target-\d{8}-\d{4}\.mp4", download.suggested_filename)

    await someone.button("badge.verify").click()
    await expect(someone.page.get_by_text(re.compile("本物です"))).to_be_visible()
    await expect(someone.page.get_by_text(re.compile("口の動きは声と"))).to_be_visible()
    await expect(someone.page.get_by_role("link", name=someone.says("task.operator"))).to_have_attribute(
        "href", re.compile(r"/flow-run/")
    )

    await someone.button("page.history").click()
    card = someone.page.get_by_role("button", name=re.compile("target.mp4.*完成"))
    await expect(card.first).to_be_visible()
    await card.first.click()
    await someone.until_done()
    assert someone.task_id == task_id
    assert someone.complaints == []
    # Everything came from the page and the bucket.
    assert someone.strangers(stack.addresses.s3_endpoint) == set()
    secrets = (stack.addresses.api_secret, stack.addresses.s3_secret_access_key)
    shown = await someone.page.content()
    assert not [secret for secret in secrets if secret.get_secret_value() in shown]


@pytest.mark.ui
async def test_inputs_are_kept_over_a_reload(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.give_samples(with_face=False)
    await visitor.give_word("Jane Doe")
    await visitor.page.get_by_label(visitor.says("sync.silence")).check()
    await expect(visitor.button("run.start")).to_be_enabled()
    await visitor.page.reload()
    await visitor.until_given("video", "target.mp4")
    await visitor.until_given("voice", "speech.wav")
    await expect(visitor.page.get_by_label(visitor.says("consent.name"))).to_have_value("Jane Doe")
    await expect(visitor.page.get_by_label(visitor.says("sync.silence"))).to_be_checked()
    await expect(visitor.button("run.start")).to_be_enabled()


@pytest.mark.ui
async def test_a_file_of_another_kind_or_without_a_byte_is_refused_in_words(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.give("video", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"})
    await expect(visitor.page.get_by_text(visitor.says("upload.wrong_video", name="notes.txt"))).to_be_visible()
    await visitor.give("voice", {"name": "nothing.wav", "mimeType": "audio/wav", "buffer": b""})
    await expect(visitor.page.get_by_text(visitor.says("upload.empty", name="nothing.wav"))).to_be_visible()
    await expect(visitor.button("run.start")).to_be_disabled()


async def test_a_hostile_name_is_only_text(visitor: Visitor) -> None:
    name = '"><img src=x onerror=document.title=1>{{7*7}}.jpg'
    await visitor.open()
    await visitor.give(
        "faces", {"name": name, "mimeType": "image/jpeg", "buffer": (SAMPLES / "source.jpg").read_bytes()}
    )
    await expect(visitor.page.get_by_text(name, exact=True)).to_be_visible()
    assert await visitor.page.title() != "1"
