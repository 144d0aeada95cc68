"""The process that `confined` forks: loads what the work needs once, then does one piece of work per child.

Run as `python -m gpu_tasks.confinement.template FD MODULE ...`, with a socket to the caller as FD.
"""

import ctypes
import importlib
import os
import pickle
import resource
import select
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel

from gpu_tasks.confinement.confined import Confines, Outcome, Said
from gpu_tasks.confinement.wire import receive, send
from gpu_tasks.contract.faults import FaultError

# How often it is asked whether the caller still lives: its end of the socket may be open in a process that it forked.
_LOOK_SECONDS = 1.0
# A process may spend so long on what it does when it is told that its time is over.
_CPU_GRACE_SECONDS = 1
# A report is a few hundred bytes; a trace a few thousand.
_MOST_SAID_BYTES = 1 << 20
# linux/prctl.h and linux/sched.h.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_STANDARD_STREAMS = (0, 1, 2)
_IS_LINUX = sys.platform == "linux"
_LIBC = ctypes.CDLL(None)
_CALLER = os.getppid()
# This process has one thread.
_CHILDREN = Path("/proc/thread-self/children")


def main() -> None:
    """Serve the caller at the other end of the socket until it is gone."""
    for module in sys.argv[2:]:
        importlib.import_module(module)
    if _IS_LINUX:
        # What a child starts and leaves behind becomes a child of this process, wherever it hides.
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with socket.socket(fileno=int(sys.argv[1])) as door:
        send(door, b"ready")
        while (work := _next(door)) is not None:
            send(door, _perform(door, work).model_dump_json().encode())


def _next(door: socket.socket) -> bytes | None:
    """Wait for work; None when the caller is gone."""
    while not select.select([door], [], [], _LOOK_SECONDS)[0]:
        if _is_orphaned():
            return None
    return receive(door)


def _is_orphaned() -> bool:
    return os.getppid() != _CALLER


def _perform(door: socket.socket, work: bytes) -> Outcome:
    function, request, confines = pickle.loads(work)  # noqa: S301  # written by the caller, which started us
    hearing, saying = os.pipe()
    child = os.fork()
    if not child:
        os.close(hearing)
        door.close()
        _work(function, request, confines, saying)
    os.close(saying)
    try:
        said, in_time = _hear(door, hearing, confines.deadline_seconds)
    finally:
        os.close(hearing)
        # It has ended, or must: whoever has closed the pipe has nothing more to say. What it may have started is in its
        # group, which it may not have founded yet.
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        _end_orphans()
    # A child that was dying already keeps the signal that it dies of.
    died_of = os.WTERMSIG(status) if os.WIFSIGNALED(status) and len(said) <= _MOST_SAID_BYTES else None
    return Outcome(said=said.decode(errors="replace"), signal=died_of, in_time=in_time)


def _end_orphans() -> None:
    """Kill what a child left behind, and what that has started."""
    # Some kernels do not tell; macOS has no such file.
    if not _CHILDREN.exists():
        return
    while orphans := [int(word) for word in _CHILDREN.read_text(encoding="ascii").split()]:
        for orphan in orphans:
            with suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)


def _hear(door: socket.socket, hearing: int, seconds: float) -> tuple[bytes, bool]:
    """Return what a child says until it closes its end, and whether it did so in time."""
    said, deadline = bytearray(), time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(hearing, selectors.EVENT_READ)
        selector.register(door, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0 and len(said) <= _MOST_SAID_BYTES:
            if _is_orphaned():
                raise SystemExit
            for key, _ in selector.select(min(left, _LOOK_SECONDS)):
                if key.fileobj is door:
                    # Nobody sends before the answer: the caller is gone, and what it wanted is not wanted any more.
                    raise SystemExit
                if not (piece := os.read(hearing, 1 << 16)):
                    return bytes(said), True
                said += piece
    # Whoever says too much is cut off, and what it said is no reply.
    return bytes(said), len(said) > _MOST_SAID_BYTES


def _work(function: Callable[[BaseModel], BaseModel], request: BaseModel, confines: Confines, saying: int) -> NoReturn:
    """Be the child: give up what is not needed, do the work, say what came of it, end."""
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in _STANDARD_STREAMS:
            os.dup2(nowhere, stream)
        _confine(confines)
        said = _said(function, request)
        # Closed by the end of the process, not before: whoever closes it earlier is killed.
        with open(saying, "wb", closefd=False) as pipe:
            pipe.write(said.model_dump_json().encode())
    finally:
        os._exit(0)


def _said(function: Callable[[BaseModel], BaseModel], request: BaseModel) -> Said:
    try:
        return Said(value=function(request).model_dump_json())
    except FaultError as error:
        code, detail = error.args
        return Said(code=code, detail=detail)
    except MemoryError:
        return Said(is_exhausted=True)
    except Exception:  # noqa: BLE001  # whatever a stranger's file brings about must not end more than this work
        return Said(trace=traceback.format_exc())


def _confine(confines: Confines) -> None:
    """Lower the limits of this process for good, never above those that it was started with."""
    for what, value in (
        (resource.RLIMIT_AS, confines.memory_bytes),
        (resource.RLIMIT_CPU, confines.cpu_seconds),
        (resource.RLIMIT_FSIZE, confines.file_bytes),
        (resource.RLIMIT_NOFILE, confines.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        _, inherited = resource.getrlimit(what)
        allowed = value if inherited == resource.RLIM_INFINITY else min(value, inherited)
        hard = allowed
        if what == resource.RLIMIT_CPU and inherited == resource.RLIM_INFINITY:
            # At the lower limit it is told by a signal of its own; at the upper one it is killed as by anybody.
            hard = allowed + _CPU_GRACE_SECONDS
        # macOS knows RLIMIT_AS but refuses to set it.
        with suppress(ValueError, OSError):
            resource.setrlimit(what, (allowed, hard))
    if _IS_LINUX:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A network of its own has no interface. Where the kernel does not grant one (containers without user
        # namespaces) the allow-list of protocols stands alone.
        _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


if __name__ == "__main__":
    main()
