"""Two of every process that compose.ha.yaml has two of, on one machine and without containers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml
from cryptography.fernet import Fernet

from deployments.local.addresses import StackAddresses
from tests.ha.balancer import balanced
from tests.servers import variables_of
from tests.waiting import wait_until

# What first_time.py writes into secrets/prefect_auth.
LOGIN = "operator:of-the-tests"
COMPOSE = Path(__file__).parents[2] / "deployments" / "compose"


@dataclass
class Fleet:
    """Processes by name: `prefect-api-1`, `api-2` and so on."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    api_url: str = ""
    prefect_url: str = ""

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        home = self.folder / name
        home.mkdir()
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                env=environment | {"HOME": str(home), "PREFECT_HOME": str(home), "TMPDIR": str(home)},
                cwd=home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        """Run what ends by itself, as the one-shot services of the compose file do."""
        self.start(name, command, environment)
        assert self.processes.pop(name).wait(120) == 0, self.log(name)

    def kill(self, name: str) -> None:
        """`kill -9`, and all that it started."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def stop(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def running_fleet(at: StackAddresses, folder: Path) -> Iterator[Fleet]:
    """Start everything, in the order in which the compose files do."""
    fleet = Fleet(folder)
    server = server_environment(at)
    prefect_ports, api_ports = free_ports(2), free_ports(2)
    try:
        fleet.run("migrate", _command("compose.yaml", "migrate"), server)
        for number, port in enumerate(prefect_ports, 1):
            command = _command("compose.ha.yaml", "prefect-api", port=port)
            fleet.start(f"prefect-api-{number}", command, server)
        for number in (1, 2):
            fleet.start(f"prefect-services-{number}", _command("compose.ha.yaml", "prefect-services"), server)
        with balanced(prefect_ports) as fleet.prefect_url, balanced(api_ports) as fleet.api_url:
            for number, port in enumerate(prefect_ports, 1):
                until_up(fleet, f"prefect-api-{number}", f"http://127.0.0.1:{port}/api/health")
            ours = _our_environment(at, fleet.prefect_url, folder)
            fleet.run("deploy", _command("compose.yaml", "deploy"), ours)
            for number, port in enumerate(api_ports, 1):
                fleet.start(f"orchestrator-{number}", _command("compose.yaml", "orchestrator"), ours)
                fleet.start(f"api-{number}", ["api_shim"], ours | {"LIPSWAP_API_PORT": str(port)})
            for number, port in enumerate(api_ports, 1):
                until_up(fleet, f"api-{number}", f"http://127.0.0.1:{port}/health")
            yield fleet
    finally:
        fleet.stop()


def _command(file: str, service: str, *, port: int | None = None) -> list[str]:
    """Return a service's command as its compose file has it, for `python -m`; loopback, and a port of our own."""
    said = yaml.safe_load((COMPOSE / file).read_text(encoding="utf-8"))["services"][service]["command"]
    words = [str(word) for word in said]
    words = words[2:] if words[:2] == ["python", "-m"] else words
    swapped = {"0.0.0.0": "127.0.0.1"} | ({"4200": str(port)} if port else {})  # noqa: S104  # it is replaced
    return [swapped.get(word, word) for word in words]


def server_environment(at: StackAddresses) -> dict[str, str]:
    """Return what the compose files give Prefect's own processes, with secrets in the place of their files."""
    base, ha = (
        yaml.safe_load((COMPOSE / file).read_text(encoding="utf-8"))[part]
        for file, part in (("compose.yaml", "x-prefect-server"), ("compose.ha.yaml", "x-ha"))
    )
    redis = at.redis_url.get_secret_value()
    plain = {name: value for name, value in base.items() if not name.endswith("_FILE") and "${" not in value}
    given = {name.removesuffix("_FILE"): redis if name.endswith("_FILE") else value for name, value in ha.items()}
    return {
        "PATH": os.environ["PATH"],
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": at.postgres_url.get_secret_value(),
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PREFECT_SERVER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        **plain,
        **given,
    }


def _our_environment(at: StackAddresses, prefect_url: str, folder: Path) -> dict[str, str]:
    return variables_of(at) | {
        "PATH": os.environ["PATH"],
        "PREFECT_API_URL": f"{prefect_url}/api",
        "PREFECT_API_AUTH_STRING": LOGIN,
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "RUNPOD_POLL_INTERVAL": "0.5",
        "LIPSWAP_ALLOW_DRAFT": "true",
        "LIPSWAP_CPU_PROCESSES": "1",
        "LIPSWAP_C2PA_DEVELOPMENT": str(folder / "signing"),
        "OMP_NUM_THREADS": "1",
    }


def until_up(fleet: Fleet, name: str, url: str) -> None:
    """Wait until a process answers; one that has ended is told with its log."""

    def is_up() -> bool:
        assert fleet.processes[name].poll() is None, fleet.log(name)
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(url, timeout=5).status_code == httpx.codes.OK
        return False

    wait_until(is_up, seconds=180, what=f"{name} answers")


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
