"""Work on a stranger's file in a process that may do little, and is ended when it does too much.

A decoder that is fooled by a file takes the whole process with it, and may by then be somebody else's program. So each
piece of work runs in a process of its own, forked from a template that has loaded the decoders and nothing else:

    caller ── request (pickle, ours) ──> template ── fork ──> child: limits, then the function
    caller <── outcome (JSON) ───────── template <── reply (JSON, not trusted) ── child

The child has no environment (no credentials), no open file of ours, limits on memory, CPU time, file size and open
files, and no network where the kernel lets a process give it up (Linux with user namespaces). It and everything it
starts are killed at the deadline, or when the caller dies. Its reply is JSON, checked against a model: never a pickle,
which could run code here.

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

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.wire import receive, send

Request = TypeVar("Request", bound=BaseModel)
Reply = TypeVar("Reply", bound=BaseModel)

_logger = logging.getLogger(__name__)

# The template keeps the deadline; this is only for a template that does not.
_GRACE_SECONDS = 10.0
_START_SECONDS = 60.0
_END_SECONDS = 2.0
# Signals with which the kernel ends a process that takes too much; the memory guard of the system kills, too.
_TOO_MUCH = frozenset({signal.SIGXCPU, signal.SIGKILL, signal.SIGXFSZ})


class Confines(BaseModel):
    """What a piece of work may take. `file_bytes` 0: it cannot write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_seconds: int = Field(gt=0)
    deadline_seconds: float = Field(gt=0)
    memory_bytes: int = Field(default=4 << 30, gt=0)
    file_bytes: int = Field(default=0, ge=0)
    open_files: int = Field(default=64, gt=0)


class Said(BaseModel):
    """What a child says before it ends: a value (JSON), or why there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: str | None = None
    code: FaultCode | None = None
    detail: str = ""
    trace: str = ""


class Outcome(BaseModel):
    """How a child ended, as its template saw it. `signal` ended it; `said` is what it wrote until then."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: str
    signal: int | None = None
    in_time: bool = True


def run_confined(
    function: Callable[[Request], Reply], request: Request, *, reply: type[Reply], confines: Confines
) -> Reply:
    """Call `function(request)` in a confined child.

    Calls of one process take turns. Only the start of the first costs time (about half a second), a fork costs 10 ms.

    Args:
        function: A function at the top of a module. It sees an absolute path or none: its working folder is `/`.
        request: Its argument.
        reply: The type of its result.
        confines: What it may take.

    Returns:
        What the function returned, validated anew.

    Raises:
        MediaError: The fault that the function raised; MEDIA_TOO_COSTLY when it took more than it may; MEDIA_UNREADABLE
            when the child died of the file; OUT_OF_MEMORY when the template died.
    """
    work = pickle.dumps((function, request, confines))
    outcome = _TEMPLATE.perform(work, confines.deadline_seconds + _GRACE_SECONDS)
    if not outcome.in_time or outcome.signal in _TOO_MUCH:
        raise MediaError(FaultCode.MEDIA_TOO_COSTLY)
    if outcome.signal is not None:
        _logger.warning("A decoder died by signal %d.", outcome.signal)
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "It breaks the decoder.")
    try:
        said = Said.model_validate_json(outcome.said)
        if said.code is None:
            return reply.model_validate_json(said.value or "")
    except ValidationError as error:
        # Half a reply, or one that is not ours: whoever wrote it was made to by the file.
        raise MediaError(FaultCode.MEDIA_UNREADABLE, "It breaks the decoder.") from error
    if said.trace:
        _logger.error("Work on a file failed in an unforeseen way:\n%s", said.trace)
    raise MediaError(said.code, said.detail)


class _Template:
    """The process that is forked for each piece of work; started when first needed, and again when it died."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: socket.socket | None = None

    def perform(self, work: bytes, seconds: float) -> Outcome:
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
            if heard is None:
                self.close()
                raise MediaError(FaultCode.OUT_OF_MEMORY, "The process that reads files was ended.")
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
                [sys.executable, "-m", "gpu_tasks.media.template", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        self._door = ours
        ours.settimeout(_START_SECONDS)
        if receive(ours) is None:
            self.close()
            raise MediaError(FaultCode.INTERNAL, "The process that reads files did not start.")
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


_TEMPLATE = _Template()
atexit.register(_TEMPLATE.close)
