"""Prefect's own pages, as operators see a run in them; pictured for docs/operators.md."""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from playwright.async_api import Browser, Page, expect

from deployments.automations import RULES
from gpu_tasks.contract.records import Status
from tests.chaos.jobs import upload
from tests.servers import RunningStack, running_stack
from tests.simulation.clients import orchestra_of, store_of
from tests.ui.browsers import chromium_path
from tests.ui.pictures import Pictures

pytestmark = pytest.mark.ui

LABELS = {"customer": "acme"}
_PATIENCE_MS = 60_000.0


class Office(NamedTuple):
    """Prefect's pages, and a run that has come to its end."""

    url: str
    run_id: str


@pytest.fixture(scope="module")
def watched_stack() -> Iterator[RunningStack]:
    """A stack in which somebody is told when a run fails."""
    chromium_path()
    with running_stack(wishes={"LIPSWAP_ALERT_URL": "http://127.0.0.1:9/alerts"}) as running:
        yield running


@pytest.fixture(scope="module")
async def office(watched_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Office:
    keys = upload(store_of(watched_stack.addresses), tmp_path_factory.mktemp("media"))
    async with orchestra_of(watched_stack.addresses) as orchestra:
        record = await orchestra.run(keys | {"labels": LABELS})
        assert record.status is Status.COMPLETED, record.error
        await orchestra.ended(record.task_id)
    return Office(watched_stack.addresses.prefect_ui_url.rstrip("/"), record.task_id)


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    yield await context.new_page()
    await context.close()


async def _open_run(page: Page, office: Office) -> None:
    await page.goto(f"{office.url}/runs/flow-run/{office.run_id}")
    await page.get_by_text("lip-sync and face swap of target.mp4 (customer=acme)").first.wait_for()


async def test_a_run_says_what_it_did_and_for_whom_and_shows_its_tasks(
    page: Page, office: Office, pictures: Pictures
) -> None:
    await _open_run(page, office)
    for tag in ("lipswap.label:customer:acme", "wav2lip", "facefusion"):
        await expect(page.get_by_text(tag, exact=True).first).to_be_visible()
    await expect(page.get_by_text("Finished in state Completed()").first).to_be_visible()
    await pictures.keep(page, "operators-run")


async def test_a_run_has_a_bar_per_stage_a_picture_and_a_summary(
    page: Page, office: Office, pictures: Pictures
) -> None:
    await _open_run(page, office)
    await page.get_by_text("Artifacts", exact=True).first.click()
    for stage in ("ingest", "wav2lip", "facefusion", "assemble", "publish"):
        await expect(page.get_by_text(f"{stage}: done", exact=True)).to_be_visible()
    await page.set_viewport_size({"width": 1280, "height": 1100})
    await pictures.keep(page, "operators-artifacts")
    await page.get_by_text("Target and result at equal moments").click()
    sheet = page.locator("img[src^='data:image/jpeg']").first
    await expect(sheet).to_have_js_property("complete", value=True)
    assert await sheet.evaluate("image => image.naturalWidth") > 0
    await pictures.keep(page, "operators-sheet")


async def test_the_summary_tells_timings_attempts_and_cost(page: Page, office: Office, pictures: Pictures) -> None:
    await _open_run(page, office)
    await page.get_by_text("Artifacts", exact=True).first.click()
    await page.get_by_text("Summary: completed").click()
    for heading in ("Completed", "Stages", "Objects"):
        await expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    await page.set_viewport_size({"width": 1280, "height": 1200})
    await pictures.keep(page, "operators-summary")


async def test_reprocessing_has_a_schedule(page: Page, office: Office, pictures: Pictures) -> None:
    await page.goto(f"{office.url}/deployments")
    await page.get_by_role("row").filter(has_text="reprocess").get_by_role("link", name="lipswap").first.click()
    await expect(page.get_by_text("reprocess/lipswap", exact=True).first).to_be_visible()
    await expect(page.get_by_role("switch")).to_be_checked()
    await pictures.keep(page, "operators-schedule")


async def test_automations_tell_somebody(page: Page, office: Office, pictures: Pictures) -> None:
    await page.goto(f"{office.url}/automations")
    for rule in RULES:
        await expect(page.get_by_text(rule.name, exact=True)).to_be_visible()
    await page.set_viewport_size({"width": 1280, "height": 1000})
    await pictures.keep(page, "operators-automations")
