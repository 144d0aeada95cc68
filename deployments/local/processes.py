"""One child process: its own session, its own log, only the environment it is given, and a sure end."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import psutil
from pydantic import BaseModel, ConfigDict, Field

from deployments.local import launch

MARK = "LIPSWAP_SERVICE"
"""Every process of a stack carries `data directory:service` in this variable, and so do the processes it starts."""

_LOG_LIMIT_BYTES = 32 * 1024 * 1024
_KILL_SECONDS = 5.0


class Account(BaseModel):
    """A user and a group a program runs as."""

    model_config = ConfigDict(frozen=True)

    uid: int
    gid: int


class Program(BaseModel):
    """What is executed, where, as whom, and how it is asked to end.

    `orphan_signal` ends it when the supervisor was killed and nobody is left to insist; by default the stop signal.
    """

    model_config = ConfigDict(frozen=True)

    command: tuple[str, ...]
    log_path: Path
    directory: Path
    environment: Mapping[str, str] = Field(default=MappingProxyType({}), repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals | None = None
    account: Account | None = None


class ChildRecord(BaseModel):
    """Names one process for good: a pid alone is reused."""

    model_config = ConfigDict(frozen=True)

    service: str
    pid: int
    started: float


class Child:
    """A running program. Created by `spawn`; after `wait` returned, the process is gone and reaped."""

    def __init__(self, program: Program, process: asyncio.subprocess.Process, record: ChildRecord) -> None:
        self.program = program
        self.record = record
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    @classmethod
    async def spawn(cls, program: Program, *, service: str, mark: str) -> "Child":
        """Start the program in a new session, its output appended to its log.

        On Linux the program gets its orphan signal when the thread that runs this event loop ends, even by SIGKILL.
        """
        account = f"{program.account.uid}:{program.account.gid}" if program.account else "-"
        launcher = (sys.executable, "-I", "-S", launch.__file__)
        orders = (str(os.getpid()), str(int(program.orphan_signal or program.stop_signal)), account)
        log = _open_log(program.log_path)
        try:
            process = await asyncio.create_subprocess_exec(
                *launcher,
                *orders,
                *program.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=program.directory,
                env={**program.environment, MARK: mark},
                start_new_session=True,
            )
        finally:
            os.close(log)
        return cls(program, process, ChildRecord(service=service, pid=process.pid, started=_started(process.pid)))

    async def wait(self) -> int:
        """Return the exit code; negative is the number of the signal that ended the process."""
        return await self._process.wait()

    def kill(self) -> None:
        """End this one process as `kill -9` would; what it started is the supervisor's business."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def kill_group(self) -> None:
        """End every process of its group at once."""
        # The kernel reuses no number that still names a group, so this is right after the leader's end too.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def stop(self, seconds: float) -> bool:
        """Ask the program to end, and kill its group after `seconds`. Returns whether it ended by itself."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(self.program.stop_signal)
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill_group()
            async with asyncio.timeout(_KILL_SECONDS):
                await self._process.wait()
            return False
        return True


def base_environment(home: Path) -> dict[str, str]:
    """Return the environment every child starts from: nothing of the caller's secrets or settings.

    `home` stands in for the user's: no `~/.aws`, `~/.runpod` or `~/.prefect` can change what a service does.
    """
    programs = Path(sys.executable).parent
    return {
        "PATH": os.pathsep.join((str(programs), "/usr/local/bin", "/usr/bin", "/bin")),
        "HOME": str(home),
        "TMPDIR": str(home / "tmp"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONSAFEPATH": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "DO_NOT_TRACK": "1",
    }


def _open_log(path: Path) -> int:
    """Open for appending; a log that has grown too long becomes `NAME.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _started(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # ended and reaped already: nothing will ever match
        return 0.0
