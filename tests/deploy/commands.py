"""The real command line, as an operator calls it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.account import API_KEY, ENVIRONMENT, RunningAccount


def lipswap(
    *arguments: str | Path, account: RunningAccount | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is one text, sentences and answers together."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    if account is not None:
        environment |= {"RUNPOD_API_KEY": API_KEY, "RUNPOD_REST_BASE": f"{account.url}/v1"} | ENVIRONMENT
    return subprocess.run(
        [str(Path(sys.executable).with_name("lipswap")), *map(str, arguments)],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
