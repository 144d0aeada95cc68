"""Work on a stranger's file in a process that may do little, and is ended when it does too much.

A parser that is fooled by a file takes the whole process with it, and may by then be somebody else's program. So each
piece of work runs in a process of its own, forked from a template that has loaded what the work needs and nothing else:

    caller ── request (pickle, ours) ──> template ── fork ──> child: limits, then the function
    caller <── outcome (JSON) ───────── template <── reply (JSON, not trusted) ── child

The child has no environment (no credentials), no open file of ours, limits on memory, CPU time, file size and open
files, and no network where the kernel lets a process give it up (Linux with user namespaces). It and everything it
starts are killed at the deadline, or when the caller dies. Nothing that it writes on its standard streams is kept. Its
reply is JSON of limited length, checked against a model: never a pickle, which could run code here.

On macOS the memory limit is not enforced by the system and the network stays; the other limits hold.
"""

import atexit
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_tasks.confinement.errors import (
    BrokenError,
    KilledError,
    NotStartedError,
    StumbledError,
    TooLongError,
    TooMuchError,
)
from gpu_tasks.confinement.wire import receive, send
from gpu_tasks.contract.faults import FaultCode, FaultError

Request = TypeVar("Request", bound=BaseModel)
Reply = TypeVar("Reply", bound=BaseModel)

_logger = logging.getLogger(__name__)

# The template keeps the deadline; this is only for a template that does not.
_GRACE_SECONDS = 10.0
_START_SECONDS = 60.0
_END_SECONDS = 2.0
# Signals with which the kernel ends a process that is beyond its limits.
_LIMITS = frozenset({signal.SIGXCPU, signal.SIGXFSZ})


class Confines(BaseModel):
    """What a piece of work may take. `file_bytes` 0: it cannot write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_seconds: int = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    memory_bytes: int = Field(default=4 << 30, gt=0)
    file_bytes: int = Field(default=0, ge=0)
    open_files: int = Field(default=64, gt=0)


class Said(BaseModel):
    """What a child says before it ends: a value (JSON), or why there is none (`is_exhausted`: no memory is left)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: str | None = None
    code: FaultCode | None = None
    detail: str = ""
    is_exhausted: bool = False
    trace: str = ""


class Outcome(BaseModel):
    """How a child ended, as its template saw it. `signal` ended it; `said` is what it wrote until then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: str
    signal: int | None = None
    in_time: bool = True


class Confinement:
    """A template that is forked for each piece of work; started when first needed, and again when it died.

    Args:
        loads: Modules that the work needs: loaded before the fork, so that a child starts in a moment.
    """

    def __init__(self, *loads: str) -> None:
        self._loads = loads
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None
        atexit.register(self.close)

    def run(
        self, function: Callable[[Request], Reply], request: Request, *, reply: type[Reply], confines: Confines
    ) -> Reply:
        """Call `function(request)` in a confined child.

        Calls take turns. Only the start of the first costs time (about half a second), a fork costs 10 ms.

        Args:
            function: A function at the top of a module. It sees an absolute path or none: its working folder is `/`.
            request: Its argument.
            reply: The type of its result.
            confines: What it may take.

        Returns:
            What the function returned, validated anew.

        Raises:
            FaultError: The fault that the function raised, of whatever class it was.
            ConfinedError: There is no answer; its classes say why.
        """
        outcome = self._perform(pickle.dumps((function, request, confines)), confines.deadline_seconds + _GRACE_SECONDS)
        if not outcome.in_time:
            raise TooLongError
        if outcome.signal in _LIMITS:
            raise TooMuchError
        if outcome.signal == signal.SIGKILL:
            raise KilledError
        if outcome.signal is not None:
            _logger.warning("%s died by signal %d.", function.__name__, outcome.signal)
            raise BrokenError
        try:
            said = Said.model_validate_json(outcome.said)
            if said.value is not None:
                return reply.model_validate_json(said.value)
        except ValidationError as error:
            # Half a reply, or one that is not ours: whoever wrote it was made to by the file.
            raise BrokenError from error
        if said.code is not None:
            raise FaultError(said.code, said.detail)
        if said.is_exhausted:
            raise TooMuchError
        _logger.error("%s failed in an unforeseen way:\n%s", function.__name__, said.trace)
        raise StumbledError

    def _perform(self, work: bytes, seconds: float) -> Outcome:
        with self._turn:
            door = self._door or self._start()
            try:
                door.settimeout(seconds)
                send(door, work)
                heard = receive(door)
            except TimeoutError:
                self.close()
                return Outcome(said="", in_time=False)
            except OSError:
                heard = None
            except BaseException:
                # The answer to this question must not become that to the next one.
                self.close()
                raise
            if heard is None:
                self.close()
                raise KilledError
            return Outcome.model_validate_json(heard)

    def close(self) -> None:
        """End the template and what it started."""
        if self._door is not None:
            # It ends by itself, and ends its child, when the door closes.
            self._door.close()
        if self._process is not None:
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(_END_SECONDS)
        self._door = self._process = None

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "gpu_tasks.confinement.template", str(theirs.fileno()), *self._loads],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        self._door = ours
        try:
            ours.settimeout(_START_SECONDS)
            is_ready = receive(ours) is not None
        except OSError:
            is_ready = False
        except BaseException:
            self.close()
            raise
        if not is_ready:
            self.close()
            raise NotStartedError
        return ours


def _environment() -> dict[str, str]:
    """What an interpreter needs to find the same modules; nothing of ours, so no credentials.

    One thread of linear algebra: a process with threads cannot be forked safely.
    """
    return {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path),  # noqa: PTH100  # "" is the cwd
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
