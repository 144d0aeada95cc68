import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deployments.cli import KEPT, Exit
from deployments.local.layout import DataDirectory, is_free, load_ports
from deployments.local.leftovers import (
    ChildRecords,
    end_processes,
    marked_processes,
    only_supervisor,
    recorded_processes,
    supervisor_pid,
)
from deployments.local.processes import MARK, ChildRecord
from deployments.local.services import ServiceName
from tests.waiting import PATIENCE_SECONDS, wait_until

LIPSWAP = str(Path(sys.executable).with_name("lipswap"))
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


class Foreground:
    """`lipswap up` as a user starts it."""

    def __init__(self, data_directory: Path, *parts: ServiceName) -> None:
        self.directory = DataDirectory(data_directory)
        command = (LIPSWAP, "up", "--any-ports", "--data", str(data_directory))
        chosen = [f"--part={part}" for part in parts]
        self.process = subprocess.Popen([*command, *chosen], stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []

    def until_it_says(self, words: str) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if words in line:
                return
        raise AssertionError(f"ended without saying {words!r}: {self.said}")

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)
        end_processes(self.left())

    def left(self) -> list[psutil.Process]:
        records = ChildRecords(self.directory.children)
        return [*recorded_processes(records.left()), *marked_processes(self.directory.mark(""))]

    def busy_ports(self) -> list[int]:
        return [port for port in load_ports(self.directory.ports).model_dump().values() if not is_free(port)]


@pytest.fixture
def data_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lipswap-test-") as root:
        path = Path(root)
        path.chmod(0o711)  # root's Postgres runs under another account
        yield path / "stack"


@pytest.fixture
def foreground(data_directory: Path) -> Iterator[Foreground]:
    running = Foreground(data_directory, ServiceName.VALKEY)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def deaf_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of a stack `/gone` that does not listen to SIGTERM."""
    environment = {**os.environ, MARK: "/gone:valkey"}
    with subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == b"deaf\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(foreground: Foreground, number: signal.Signals) -> None:
    foreground.until_it_says(KEPT)
    assert foreground.busy_ports()
    children = psutil.Process(foreground.process.pid).children(recursive=True)
    assert children
    assert foreground.end(number) == 0
    assert [process for process in children if process.is_running()] == []
    assert foreground.left() == []
    assert foreground.busy_ports() == []


def test_a_signal_during_the_start_leaves_nothing(foreground: Foreground) -> None:
    foreground.until_it_says("ready")
    assert foreground.end(signal.SIGINT) == 0
    assert foreground.left() == []


def test_a_second_stack_in_one_data_directory_is_refused_by_name(foreground: Foreground) -> None:
    foreground.until_it_says(KEPT)
    second = Foreground(foreground.directory.root, ServiceName.VALKEY)
    _, said = second.process.communicate(timeout=PATIENCE_SECONDS)
    assert second.process.returncode == Exit.UNREACHABLE
    assert said == (
        f"{foreground.directory.root} is in use by process {foreground.process.pid}."
        " Stop it first or choose another data directory.\n"
    )
    assert supervisor_pid(foreground.directory.lock) == foreground.process.pid


def test_after_kill_9_of_the_supervisor_the_next_one_starts_clean(data_directory: Path) -> None:
    parts = (ServiceName.POSTGRES, ServiceName.OBJECT_STORE)
    killed = Foreground(data_directory, *parts)
    killed.until_it_says(KEPT)
    first = psutil.Process(killed.process.pid).children(recursive=True)
    killed.end(signal.SIGKILL)
    assert supervisor_pid(killed.directory.lock) is None
    second = Foreground(data_directory, *parts)
    try:
        second.until_it_says(KEPT)
        wait_until(lambda: not any(process.is_running() for process in first), what="the first children ended")
        assert second.end(signal.SIGTERM) == 0
        assert second.left() == []
    finally:
        second.close()
        killed.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_end_with_a_killed_supervisor_by_themselves(foreground: Foreground) -> None:
    foreground.until_it_says(KEPT)
    foreground.end(signal.SIGKILL)
    wait_until(lambda: not foreground.left(), what="no child is left")


def test_a_process_is_found_by_the_mark_of_its_stack(deaf_child: subprocess.Popen[bytes]) -> None:
    assert [process.pid for process in marked_processes("/gone:")] == [deaf_child.pid]
    assert [process.pid for process in marked_processes("/gone:valkey")] == [deaf_child.pid]
    assert marked_processes("/gone:val") == []
    assert marked_processes("/gon:") == []


def test_a_leftover_that_does_not_listen_is_killed(deaf_child: subprocess.Popen[bytes]) -> None:
    assert end_processes(marked_processes("/gone:")) == 1
    assert deaf_child.wait(30) == -signal.SIGKILL


def test_a_reused_pid_is_not_taken_for_a_leftover(tmp_path: Path) -> None:
    records = ChildRecords(tmp_path / "children.json")
    here = psutil.Process()
    records.add(ChildRecord(service="valkey", pid=here.pid, started=here.create_time() - 1.0))
    assert recorded_processes(ChildRecords(tmp_path / "children.json").left()) == []
    records.add(ChildRecord(service="valkey", pid=here.pid, started=here.create_time()))
    assert recorded_processes(ChildRecords(tmp_path / "children.json").left()) == [here]


def test_a_torn_record_file_names_no_process(tmp_path: Path) -> None:
    path = tmp_path / "children.json"
    path.write_text('[{"service": "valkey", "pi')
    assert ChildRecords(path).left() == ()


def test_the_lock_is_free_again_after_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    with only_supervisor(lock):
        assert supervisor_pid(lock) == os.getpid()
    assert supervisor_pid(lock) is None
    with only_supervisor(lock), suppress(FileNotFoundError):
        assert supervisor_pid(lock) == os.getpid()
