"""The command line, as an operator calls it: in this process, or in one of its own where loops are begun."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

from deployments.cli import command_line
from deployments.console import Told
from gpu_tasks.contract.sentences import Language
from tests.deploy.account import API_KEY, ENVIRONMENT, RunningAccount

_NOTHING: Mapping[str, str] = MappingProxyType({})
_PROGRAM = str(Path(sys.executable).with_name("lipswap"))


@dataclass(frozen=True)
class Answer:
    """`stdout` holds sentences and answers together, as a terminal does."""

    returncode: int
    stdout: str


def lipswap(*arguments: str | Path, account: RunningAccount | None = None, **variables: str) -> Answer:
    """Run a command here, with these variables and no others."""
    told = io.StringIO()
    known = {"RUNPOD_API_KEY": API_KEY, "RUNPOD_REST_BASE": account.base} | ENVIRONMENT if account else {}
    code: object = 0
    with (
        patch.dict(os.environ, known | variables, clear=True),
        contextlib.redirect_stdout(told),
        contextlib.redirect_stderr(told),
    ):
        try:
            command_line(Language.ENGLISH)([*map(str, arguments)], obj=Told(Language.ENGLISH), prog_name="lipswap")
        except SystemExit as end:
            code = end.code
    return Answer(code if isinstance(code, int) else 0, told.getvalue())


def lipswap_process(*arguments: str | Path, environment: Mapping[str, str] = _NOTHING) -> Answer:
    """Run a command as a process of its own."""
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LIPSWAP_LANG": "en"}
    done = subprocess.run(
        [_PROGRAM, *map(str, arguments)],
        env=plain | dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    return Answer(done.returncode, done.stdout)
