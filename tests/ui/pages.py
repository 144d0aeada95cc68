"""A page of one's own, beside the stack's: with other settings, or to be measured."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.waiting import wait_until


@contextmanager
def page_process(
    folder: Path, environment: Mapping[str, str], *, port: int | None = None
) -> Iterator[tuple[str, psutil.Process]]:
    """`python -m ui_panel`; yields its address and its process."""
    port = port or free_port()
    with (folder / "page.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ui_panel"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LIPSWAP_PAGE_PORT": str(port),
                **environment,
            },
            cwd=folder,
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: process.poll() is not None or _is_up(url), seconds=120, what="the page answers")
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/door/alive", timeout=2).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
