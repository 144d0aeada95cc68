"""`lipswap demo --keep` as a newcomer starts it, and other commands beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from deployments.cli import KEPT
from deployments.local.layout import DataDirectory
from deployments.local.leftovers import ChildRecords, marked_processes, recorded_processes

LIPSWAP = str(Path(sys.executable).with_name("lipswap"))
START_SECONDS = 270.0
COMMAND_SECONDS = 240.0
ENGLISH = os.environ | {"LIPSWAP_LANG": "en"}
# A person's own limit: it has to reach the processes behind the API.
WISHES = {"LIPSWAP_MAX_SECONDS": "90"}


class Demo:
    """A demo that keeps its stack. `folder` is the working directory: it holds `demo/` and the data."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.data = folder / ".lipswap"
        self._told = (folder / "told.txt").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            (LIPSWAP, "demo", "--keep", *arguments),
            cwd=folder,
            env=ENGLISH | WISHES,
            stderr=self._told,
            start_new_session=True,
        )

    def told(self) -> str:
        return (self.folder / "told.txt").read_text(encoding="utf-8")

    def until_kept(self) -> None:
        """Wait until the run is over and the stack is kept."""
        deadline = time.monotonic() + START_SECONDS
        while KEPT not in self.told():
            try:
                self.process.wait(0.1)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    raise AssertionError(f"the demo is not done: {self.told()}") from None
            else:
                raise AssertionError(f"the demo ended: {self.told()}")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command against the kept stack, which it finds by itself."""
        return subprocess.run(
            (LIPSWAP, *arguments),
            cwd=self.folder,
            env=ENGLISH,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def record(self) -> dict[str, Any]:
        """Return what the demo saved of its run."""
        record: dict[str, Any] = json.loads((self.folder / "demo" / "record.json").read_text(encoding="utf-8"))
        return record

    def interrupt(self) -> float:
        """Press Ctrl-C; return the seconds until everything has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(120)
        return time.monotonic() - began

    def left_processes(self) -> list[int]:
        directory = DataDirectory(self.data)
        left = [
            *recorded_processes(ChildRecords(directory.children).left()),
            *marked_processes(directory.mark("")),
        ]
        return [process.pid for process in left]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        self._told.close()
