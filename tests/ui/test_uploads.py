"""Files on their way to the bucket: large, cancelled, cut off, refused."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from deployments.local.services import ServiceName
from tests.servers import RunningStack
from tests.ui.browsers import WALK
from tests.ui.visitor import SAMPLES, Visitor
from tests.waiting import await_until

pytestmark = pytest.mark.ui

_MEGABYTE = 1024 * 1024
PART = re.compile("0:01\\.0 \N{EN DASH} 0:04\\.0")
HANDED = (
    "async ([event, name]) => {"
    + WALK
    + """
  const blob = await (await fetch(new URL('samples/source.jpg', document.baseURI))).blob();
  const held = new DataTransfer();
  held.items.add(new File([blob], name, {type: 'image/jpeg'}));
  const drops = Array.from(all(document)).filter(el => el.classList.contains('drop'));
  const place = event === 'drop' ? drops.at(-1) : document;
  const made = {bubbles: true, cancelable: true};
  place.dispatchEvent(event === 'drop' ? new DragEvent(event, {dataTransfer: held, ...made})
    : new ClipboardEvent(event, {clipboardData: held, ...made}));
}"""
)

REFUSED = """async ([script, slot, type, name]) =>
  (await import(script)).refusal(slot, new File(['x'], name, {type}))"""
# Slot, type as a browser tells it, name, and whether the service takes such a file there.
KINDS = (
    ("video", "video/mp4", "a.mp4", True),
    ("video", "video/mp2t", "a.ts", True),
    ("video", "video/mpeg", "a.m2ts", True),
    ("video", "text/vnd.trolltech.linguist", "a.ts", True),
    ("video", "video/mpeg", "a.mpg", False),
    ("video", "video/x-ms-wmv", "a.wmv", False),
    ("video", "text/plain", "a.txt", False),
    ("voice", "audio/mpeg", "a.mp3", True),
    ("voice", "video/x-msvideo", "a.avi", True),
    ("voice", "video/x-matroska", "a.mkv", True),
    ("voice", "video/mp2t", "a.ts", True),
    ("voice", "", "a.mkv", True),
    ("voice", "video/x-flv", "a.flv", False),
    ("voice", "audio/x-ms-wma", "a.wma", False),
    ("faces", "video/mpeg", "a.ts", False),
)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with much behind its end: no browser minds, and no two parts are alike."""
    path = tmp_path_factory.mktemp("films") / "large.mp4"
    with path.open("wb") as file:
        file.write((SAMPLES / "target.mp4").read_bytes())
        for number in range(48):
            file.write(bytes([number]) * _MEGABYTE)
    return path


async def slowed(visitor: Visitor, bytes_per_second: int) -> None:
    session = await visitor.page.context.new_cdp_session(visitor.page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    await session.send("Network.emulateNetworkConditions", conditions)


async def test_a_large_file_goes_in_parts_with_progress(visitor: Visitor, large: Path) -> None:
    await visitor.open()
    await slowed(visitor, 20 * _MEGABYTE)
    await visitor.give("video", large)
    bar = visitor.page.get_by_role("progressbar", name=visitor.says("upload.name", name="large.mp4"))
    await expect(bar).to_be_visible()
    await expect(visitor.page.get_by_text(re.compile(r"\d+ % · [\d.]+ MB/s"))).to_be_visible()
    await slowed(visitor, -1)
    await visitor.until_given("video", "large.mp4")
    parts = [url for url in visitor.requests if "partNumber=" in url]
    assert len({re.findall(r"partNumber=(\d+)", url)[0] for url in parts}) > 1


async def test_a_cancelled_upload_leaves_room_for_another(visitor: Visitor, large: Path) -> None:
    await visitor.open()
    await slowed(visitor, 2 * _MEGABYTE)
    await visitor.give("video", large)
    await visitor.button("upload.cancel").click()
    await expect(visitor.page.get_by_text(visitor.says("upload.cancelled"))).to_be_visible()
    await slowed(visitor, -1)
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")


async def test_an_upload_goes_on_when_the_connection_is_back(visitor: Visitor, large: Path) -> None:
    await visitor.open()
    await slowed(visitor, 12 * _MEGABYTE)
    await visitor.give("video", large)
    await expect(visitor.page.get_by_text(re.compile(r"\d+ % · "))).to_be_visible()
    await visitor.page.context.set_offline(True)
    await expect(visitor.page.get_by_text(visitor.says("upload.waiting"))).to_be_visible()
    await expect(visitor.page.get_by_text(visitor.says("page.offline"))).to_be_visible()
    await visitor.page.context.set_offline(False)
    await slowed(visitor, -1)
    await visitor.until_given("video", "large.mp4")


async def test_an_upload_goes_on_while_something_else_is_looked_at(visitor: Visitor, large: Path) -> None:
    await visitor.open()
    await slowed(visitor, 12 * _MEGABYTE)
    await visitor.give("video", large)
    await expect(visitor.page.get_by_text(re.compile(r"\d+ % \S+ "))).to_be_visible()
    await visitor.button("page.history").click()
    await visitor.page.get_by_role("heading", name=visitor.says("history.title")).wait_for()
    await visitor.button("page.create").click()
    await slowed(visitor, -1)
    await visitor.until_given("video", "large.mp4")


async def test_an_upload_waits_for_a_service_that_is_away(visitor: Visitor, stack: RunningStack) -> None:
    await visitor.open()
    await visitor.until_ready()
    stack.kill(ServiceName.API)
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")
    stack.until_ready(ServiceName.API)


async def test_an_upload_that_a_reload_cut_off_goes_on_where_it_was(visitor: Visitor, large: Path) -> None:
    await visitor.open()
    await slowed(visitor, 12 * _MEGABYTE)
    async with visitor.page.expect_response(lambda answer: "partNumber=" in answer.url and answer.ok):
        await visitor.give("video", large)
    visitor.page.on("dialog", lambda dialog: dialog.accept())
    await visitor.page.reload()
    await visitor.until_ready()
    await slowed(visitor, -1)
    await visitor.give("video", large)
    await expect(visitor.page.get_by_text(visitor.says("upload.resumed"))).to_be_visible()
    await visitor.until_given("video", "large.mp4")


async def test_an_address_that_has_run_out_is_asked_for_anew(visitor: Visitor) -> None:
    await visitor.open()
    refused = await visitor.refuse_first("/uploads/video/")
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")
    assert len(refused) == 1


async def test_an_input_whose_address_has_run_out_is_seen_all_the_same(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.give("voice", SAMPLES / "speech.wav")
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")
    await visitor.page.wait_for_function("sessionStorage.getItem('lipswap.inputs')?.includes('target.mp4')")
    refused = await visitor.refuse_first("/uploads/video/")
    await visitor.page.reload()
    film = visitor.page.get_by_label(visitor.says("media.preview", name="target.mp4"))
    await await_until(lambda: film.evaluate("film => film.readyState > 0"), what="the film is there")
    await expect(visitor.page.get_by_text(visitor.says("media.no_preview"))).to_have_count(0)
    assert len(refused) == 1


async def test_a_file_of_five_gigabytes_is_refused_before_a_byte_is_sent(visitor: Visitor, tmp_path: Path) -> None:
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(5 * 1024**3)
    await visitor.open()
    await visitor.give("video", huge)
    await expect(visitor.page.get_by_role("alert").filter(has_text="larger than allowed")).to_be_visible()
    assert not [url for url in visitor.requests if "X-Amz-Signature" in url]
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")


async def test_a_file_is_refused_by_its_kind_only_where_the_service_refuses_it(visitor: Visitor) -> None:
    await visitor.open()
    script = next(url for url in visitor.requests if url.endswith("/files.js"))
    for slot, media_type, name, is_taken in KINDS:
        refusal = await visitor.page.evaluate(REFUSED, [script, slot, media_type, name])
        assert (refusal is None) is is_taken, (slot, media_type, name)


async def test_a_picture_is_dropped_and_another_is_pasted(visitor: Visitor) -> None:
    await visitor.open()
    for event, name in (("drop", "dropped.jpg"), ("paste", "pasted.jpg")):
        await visitor.page.evaluate(HANDED, [event, name])
        await visitor.until_given("faces", name)


@pytest.mark.parametrize("slot", ["voice", "video"])
async def test_a_recording_becomes_an_input(visitor: Visitor, slot: str) -> None:
    await visitor.open()
    await visitor.button(f"{slot}.record").click()
    await visitor.button("record.start").click()
    # It has to have recorded something before it is stopped.
    await expect(visitor.page.get_by_text(re.compile(r"Recording: 0:0[1-9]"))).to_be_visible()
    await visitor.button("record.stop").click()
    remove = visitor.page.get_by_role(
        "button", name=re.compile(re.escape(visitor.says("media.remove", name=visitor.says(f"record.{slot}_name"))))
    )
    await remove.wait_for()


async def test_the_part_to_use_is_chosen_by_key(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.give("video", SAMPLES / "target.mp4")
    await visitor.until_given("video", "target.mp4")
    start = visitor.page.get_by_role("slider", name=visitor.says("trim.start"))
    await start.focus()
    for _ in range(25):
        await start.press("ArrowRight")
    await expect(visitor.page.get_by_text(PART)).to_be_visible()
    await visitor.page.wait_for_function("""sessionStorage.getItem('lipswap.inputs')?.includes('"start":1')""")
    await visitor.page.reload()
    await expect(visitor.page.get_by_text(PART)).to_be_visible()
