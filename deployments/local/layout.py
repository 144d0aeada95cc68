"""Where a stack keeps its files, and the loopback ports it listens on."""

import os
import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.local.errors import DataDirectoryUnusable, NoFreePort

HOST = "127.0.0.1"
# Under the data directory: the development chain that local results are signed with.
SIGNING_FOLDER = "c2pa"

PREFERRED_PORTS = MappingProxyType({"api": 8000, "prefect": 4200, "page": 7860})
# Below the ranges from which Linux (32768+) and macOS (49152+) take the ports of outgoing connections:
# a service that is started again finds its port free.
_RANGE = range(10_240, 32_000)
_TRIES = 200


class Ports(BaseModel):
    """One loopback port per listener."""

    model_config = ConfigDict(frozen=True)

    api: int
    prefect: int
    page: int
    control_plane: int
    postgres: int
    valkey: int
    s3: int
    s3_grpc: int
    weed_master: int
    weed_master_grpc: int
    weed_volume: int
    weed_volume_grpc: int
    weed_filer: int
    weed_filer_grpc: int
    weed_admin: int
    weed_admin_grpc: int


class DataDirectory:
    """The paths under one data directory. Nothing of a stack's state is elsewhere (for root, see postgres_place)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.lock = self.root / "supervisor.lock"
        self.credentials = self.root / "credentials.json"
        self.ports = self.root / "ports.json"
        self.children = self.root / "children.json"
        self.logs = self.root / "logs"
        self.home = self.root / "home"
        self.signing = self.root / SIGNING_FOLDER
        self.temporary = self.home / "tmp"
        # Where `lipswap models pull` puts them; not made here, because an empty one tells nothing.
        self.weights = self.root / "weights"

    def of(self, service: str) -> Path:
        """Return the directory that belongs to one service alone."""
        path = self.root / service
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def mark(self, service: str) -> str:
        """Return what a service's processes carry in their environment; with an empty name, what all carry."""
        return f"{self.root}:{service}"

    def create(self) -> None:
        """Make the directories, closed to others.

        Raises:
            DataDirectoryUnusable: it belongs to another user or cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # Root's Postgres runs under another account: it may pass through, not list.
            self.root.chmod(0o711 if os.geteuid() == 0 else 0o700)
            for path in (self.logs, self.home, self.temporary):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DataDirectoryUnusable(
                f"The data directory {self.root} cannot be used: {error.strerror}. Choose another one."
            ) from error


class Reservations:
    """Ports that no other stack on this machine chooses as long as they are held.

    A server binds its port seconds after it was chosen, and two stacks that start together would choose alike. The UDP
    port of the same number serves as the mark: the kernel gives it to one process and takes it back however that ends.
    """

    def __init__(self) -> None:
        self._marks: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for mark in self._marks:
            mark.close()

    def take(self, port: int) -> bool:
        """Hold a port; False when something listens on it or another stack holds it."""
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            mark.bind((HOST, port))
        except OSError:
            mark.close()
            return False
        self._marks.append(mark)
        return is_free(port)


def choose_ports(
    path: Path, preferred: Mapping[str, int], take: Callable[[int], bool] | None = None
) -> tuple[Ports, tuple[str, ...]]:
    """Choose every port: the one of last time, else the preferred one, else any free one; and remember them.

    Args:
        path: Where the choice is remembered.
        preferred: Wanted ports by name.
        take: Tells whether a port can be had, and holds it; without it a port is only looked at.

    Returns:
        The ports, and a sentence for each preferred port that was busy.

    Raises:
        NoFreePort: the range is exhausted.
    """
    take = take or is_free
    last = _read(path)
    chosen: dict[str, int] = {}
    notices = []
    for name in Ports.model_fields:
        wanted = preferred.get(name, last.get(name))
        taken = chosen.values()
        if wanted is not None and wanted not in taken and take(wanted):
            chosen[name] = wanted
            continue
        chosen[name] = _free_port(last.get(name), set(taken) | set(preferred.values()), take)
        if name in preferred:
            notices.append(f"Port {wanted} is busy: {name} uses {chosen[name]}.")
    ports = Ports(**chosen)
    draft = path.with_suffix(".new")
    draft.write_text(ports.model_dump_json(), encoding="utf-8")
    draft.replace(path)
    return ports, tuple(notices)


def load_ports(path: Path) -> Ports:
    """Read the ports a running stack has chosen."""
    return Ports.model_validate_json(path.read_bytes())


def is_free(port: int) -> bool:
    """Tell whether nothing listens on this loopback port."""
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:  # macOS lets one bind beside a wildcard listener
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lingers in TIME_WAIT is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(last: int | None, taken: set[int], take: Callable[[int], bool]) -> int:
    # The choice is random so that two stacks that start at once seldom want the same port; it guards nothing.
    candidates = ([last] if last else []) + random.sample(_RANGE, _TRIES)
    for port in candidates:
        if port not in taken and take(port):
            return port
    raise NoFreePort(f"No free port on {HOST} between {_RANGE.start} and {_RANGE.stop}.")


def _read(path: Path) -> dict[str, int]:
    try:
        return load_ports(path).model_dump()
    except (FileNotFoundError, ValidationError):
        return {}
