"""The page as a process: how it ends."""

import signal
from pathlib import Path

import pytest

from tests.ui.pages import page_process
from tests.ui.sockets import opened_page

pytestmark = pytest.mark.ui


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_peace_while_pages_are_open(number: signal.Signals, tmp_path: Path) -> None:
    with page_process(tmp_path, {"FF_API_BASE_URL": "http://127.0.0.1:1"}) as (url, process):
        async with opened_page(url):
            process.send_signal(number)
            assert process.wait(timeout=20) == 0
    assert "Traceback" not in (tmp_path / "page.log").read_text(encoding="utf-8")
