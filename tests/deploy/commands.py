"""The real command line, as an operator calls it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tests.deploy.account import API_KEY, ENVIRONMENT, RunningAccount


def lipswap(
    *arguments: str | Path,
    account: RunningAccount | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output is one text, sentences and answers together."""
    whole = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
    if account is not None:
        whole |= {"RUNPOD_API_KEY": API_KEY, "RUNPOD_REST_BASE": account.base} | ENVIRONMENT
    return subprocess.run(
        [str(Path(sys.executable).with_name("lipswap")), *map(str, arguments)],
        env=whole | dict(environment) | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
