"""Who may use the page."""

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect
from pydantic import ValidationError

from tests.ui.pages import page_process
from tests.ui.visitor import visiting
from ui_panel.settings import PageSettings, SignInSettings

pytestmark = pytest.mark.ui

PASSWORD = "correct horse"


async def test_who_knows_the_password_comes_in(browser: Browser, tmp_path: Path) -> None:
    settings = {"LIPSWAP_PAGE_PASSWORD": PASSWORD, "FF_API_BASE_URL": "http://127.0.0.1:1"}
    with page_process(tmp_path, settings) as (url, _):
        # Without a sign-in nothing but the door itself is open.
        headers = {"X-Lipswap-Page": "1"}
        async with httpx.AsyncClient() as http:
            asked = {"slot": "video", "name": "a", "size": 1}
            refused = await http.post(f"{url}/door/uploads", headers=headers, json=asked)
        assert refused.status_code == httpx.codes.UNAUTHORIZED
        async with visiting(browser, url) as someone:
            await someone.page.goto(f"{url}/?task=a-link")
            await someone.page.get_by_label("Password").fill("wrong")
            await someone.page.get_by_role("button", name="Sign in").click()
            await expect(someone.page.get_by_role("alert")).to_contain_text("That is not the password.")
            await someone.page.get_by_label("Password").fill(PASSWORD)
            await someone.page.get_by_role("button", name="Sign in").click()
            await someone.page.get_by_role("navigation").wait_for()
            assert "task=a-link" in someone.page.url
            assert someone.strangers() == set()
            await someone.page.get_by_role("link", name=someone.says("page.sign_out")).click()
            await expect(someone.page.get_by_text("You are signed out.")).to_be_visible()


def test_settings_that_let_in_nobody_or_everybody_are_refused() -> None:
    with pytest.raises(ValidationError, match="not both"):
        SignInSettings(password=PASSWORD, oauth_provider="github", cookie_secret="x")
    with pytest.raises(ValidationError, match="LIPSWAP_PAGE_COOKIE_SECRET"):
        SignInSettings(oauth_provider="github")
    with pytest.raises(ValidationError, match="FF_API_BASE_URL"):
        PageSettings(api_base_url="ftp://somewhere")
