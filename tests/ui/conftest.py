"""The whole local stack, page included, and one browser for all tests of the folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from gpu_tasks.contract.sentences import Language
from tests.servers import RunningStack, running_stack
from tests.ui.browsers import chromium_path, running_browser
from tests.ui.pictures import Pictures
from tests.ui.visitor import Visitor, visiting


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", type=Path, help="folder for the pictures of the page (make screenshots)")


@pytest.fixture(scope="session")
def pictures(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return Pictures(pytestconfig.getoption("--pictures", None) or tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    chromium_path()  # nobody waits for servers that no browser will ask
    with running_stack() as running:
        yield running


@pytest.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as running:
        yield running


@pytest.fixture
async def visitor(stack: RunningStack, browser: Browser) -> AsyncIterator[Visitor]:
    """Somebody who reads English."""
    async with visiting(browser, stack.addresses.page_url) as someone:
        yield someone


@pytest.fixture
async def japanese(stack: RunningStack, browser: Browser) -> AsyncIterator[Visitor]:
    """Somebody who reads Japanese."""
    async with visiting(browser, stack.addresses.page_url, Language.JAPANESE) as someone:
        yield someone
