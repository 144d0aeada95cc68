"""Who may use the page."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser, expect
from pydantic import ValidationError

from gpu_tasks.contract.sentences import Language
from tests.ports import free_port
from tests.ui.pages import page_process
from tests.ui.provider import SECRET, oauth_provider
from tests.ui.visitor import visiting
from ui_panel.settings import PageSettings, SignInSettings

PASSWORD = "correct horse"
NO_API = "http://127.0.0.1:1"


@pytest.mark.ui
async def test_who_knows_the_password_comes_in(browser: Browser, tmp_path: Path) -> None:
    settings = {"LIPSWAP_PAGE_PASSWORD": PASSWORD, "FF_API_BASE_URL": NO_API}
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


@pytest.mark.ui
async def test_a_new_password_signs_out_who_came_in_by_the_old_one(browser: Browser, tmp_path: Path) -> None:
    settings = {"LIPSWAP_PAGE_COOKIE_SECRET": "stays", "FF_API_BASE_URL": NO_API}
    port = free_port()
    asked = {"slot": "video", "name": "a", "size": 1}
    async with visiting(browser, f"http://127.0.0.1:{port}") as someone:
        for password, is_known in ((PASSWORD, False), (PASSWORD, True), ("a new one", False)):
            with page_process(tmp_path, settings | {"LIPSWAP_PAGE_PASSWORD": password}, port=port):
                await someone.page.goto(someone.url)
                if is_known:
                    await someone.page.get_by_role("navigation").wait_for()
                    continue
                headers = {"X-Lipswap-Page": "1"}
                refused = await someone.page.request.post(f"{someone.url}/door/uploads", headers=headers, data=asked)
                assert refused.status == httpx.codes.UNAUTHORIZED
                await someone.page.get_by_label("Password").fill(password)
                await someone.page.get_by_role("button", name="Sign in").click()
                await someone.page.get_by_role("navigation").wait_for()


@pytest.mark.ui
async def test_who_is_named_comes_in_by_the_provider(browser: Browser, tmp_path: Path) -> None:
    with oauth_provider("Hanako@example.com") as provider:
        settings = {**provider.environment, "LIPSWAP_PAGE_USERS": "@example.com", "FF_API_BASE_URL": NO_API}
        with page_process(tmp_path, settings) as (url, _):
            async with visiting(browser, url) as someone:
                await someone.open("?task=a-link")
                assert "task=a-link" in someone.page.url
                assert someone.strangers(urlsplit(provider.url).netloc) == {urlsplit(provider.url).netloc}
                shown = await someone.page.content()
                assert not [secret for secret in (SECRET, "token-0") if secret in shown]
                way_out = someone.page.get_by_role("link", name=someone.says("page.sign_out"))
                await expect(way_out).to_have_attribute("title", re.compile("Hanako@example.com"))
                await way_out.click()
                await expect(someone.page.get_by_text("You are signed out.")).to_be_visible()


@pytest.mark.ui
async def test_whom_only_the_provider_knows_is_refused(browser: Browser, tmp_path: Path) -> None:
    with oauth_provider("mallory@elsewhere.org") as provider:
        settings = {**provider.environment, "LIPSWAP_PAGE_USERS": "@example.com", "FF_API_BASE_URL": NO_API}
        with page_process(tmp_path, settings) as (url, _):
            async with visiting(browser, url, Language.JAPANESE) as someone:
                answer = await someone.page.goto(url)
                assert answer is not None
                assert answer.status == httpx.codes.FORBIDDEN
                await expect(someone.page.get_by_role("alert")).to_contain_text("このページを使う権限がないか")
                # What the browser was given on the way opens nothing.
                asked = {"slot": "video", "name": "a", "size": 1}
                headers = {"X-Lipswap-Page": "1"}
                refused = await someone.page.request.post(f"{url}/door/uploads", headers=headers, data=asked)
                assert refused.status == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize(
    ("users", "name", "comes_in"),
    [
        ("jane, john", "Jane", True),
        ("jane", "jane2", False),
        ("@example.com", "jane@example.com", True),
        ("@example.com", "jane@not-example.com", False),
        ("@example.com", "jane@example.com.evil.org", False),
        ("*", "anybody", True),
    ],
)
def test_users_are_named_one_by_one_or_by_domain(users: str, name: str, comes_in: bool) -> None:  # noqa: FBT001
    settings = SignInSettings(oauth_provider="github", cookie_secret="x", users=users)
    assert settings.lets_in(name) is comes_in


@pytest.mark.parametrize(
    ("provider", "users", "tenant", "is_taken"),
    [
        ("generic", "@example.com", "", False),
        ("generic", "jane, john@example.com", "", False),
        ("generic", "jane", "", True),
        ("auth0", "@example.com", "", False),
        ("okta", "@example.com", "", False),
        ("azurev2", "@example.com", "", False),
        ("azurev2", "@example.com", "common", False),
        ("azurev2", "@example.com", "0f9b7c1e", True),
        ("google", "@example.com", "", True),
        ("auth0", "*", "", True),
    ],
)
def test_an_address_that_nobody_has_verified_opens_nothing(
    monkeypatch: pytest.MonkeyPatch,
    provider: str,
    users: str,
    tenant: str,
    is_taken: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setenv("AAD_TENANT_ID", tenant)
    given = {"oauth_provider": provider, "cookie_secret": "x", "users": users}
    if is_taken:
        assert SignInSettings.model_validate(given).users == users
    else:
        with pytest.raises(ValidationError, match="LIPSWAP_PAGE_EMAILS_VERIFIED"):
            SignInSettings.model_validate(given)
        assert SignInSettings.model_validate({**given, "are_emails_verified": True}).lets_in("john@example.com")


def test_settings_that_let_in_nobody_or_everybody_are_refused() -> None:
    with pytest.raises(ValidationError, match="not both"):
        SignInSettings(password=PASSWORD, oauth_provider="github", cookie_secret="x")
    with pytest.raises(ValidationError, match="LIPSWAP_PAGE_COOKIE_SECRET"):
        SignInSettings(oauth_provider="github")
    with pytest.raises(ValidationError, match="LIPSWAP_PAGE_USERS"):
        SignInSettings(oauth_provider="github", cookie_secret="x")
    with pytest.raises(ValidationError, match="FF_API_BASE_URL"):
        PageSettings(api_base_url="ftp://somewhere")
