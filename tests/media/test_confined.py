import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_tasks.confinement.confined import Confines
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.media.confined import run_confined
from gpu_tasks.media.errors import MediaError
from tests.media import misbehaving
from tests.media.misbehaving import Order, Told
from tests.waiting import wait_until

USUAL = Confines(cpu_seconds=10, deadline_seconds=20)
BRIEF = Confines(cpu_seconds=1, deadline_seconds=20)
SOON = Confines(cpu_seconds=10, deadline_seconds=0.3)


def told(function: Callable[[Order], Told], order: Order | None = None, confines: Confines = USUAL) -> str:
    return run_confined(function, order or Order(), reply=Told, confines=confines).text


def test_a_result_comes_back() -> None:
    assert told(misbehaving.answer, Order(text="abc")) == "ABC"


def test_a_fault_comes_back_as_it_was_raised() -> None:
    with pytest.raises(MediaError) as caught:
        told(misbehaving.refuse, Order(text="Too odd."))
    assert caught.value.fault.code is FaultCode.MEDIA_UNSUPPORTED
    assert caught.value.fault.detail.endswith(" Too odd.")


@pytest.mark.parametrize(
    ("function", "order", "confines", "code"),
    [
        (misbehaving.segfault, Order(), USUAL, FaultCode.MEDIA_UNREADABLE),
        (misbehaving.abort, Order(), USUAL, FaultCode.MEDIA_UNREADABLE),
        (misbehaving.stumble, Order(text="secret"), USUAL, FaultCode.MEDIA_UNREADABLE),
        (misbehaving.lie, Order(), USUAL, FaultCode.MEDIA_UNREADABLE),
        (misbehaving.spin, Order(), BRIEF, FaultCode.MEDIA_TOO_COSTLY),
        (misbehaving.sleep, Order(), SOON, FaultCode.MEDIA_TOO_COSTLY),
        (misbehaving.hoard, Order(number=8 << 30), USUAL, FaultCode.MEDIA_TOO_COSTLY),
        (misbehaving.kill_itself, Order(), USUAL, FaultCode.OUT_OF_MEMORY),
        (misbehaving.talk, Order(), USUAL, FaultCode.MEDIA_UNREADABLE),
        (misbehaving.kill_the_template, Order(), USUAL, FaultCode.OUT_OF_MEMORY),
    ],
)
def test_whatever_a_child_does_is_a_fault_and_the_next_one_works(
    function: Callable[[Order], Told], order: Order, confines: Confines, code: FaultCode
) -> None:
    with pytest.raises(MediaError) as caught:
        told(function, order, confines)
    assert caught.value.fault.code is code
    assert "secret" not in caught.value.fault.detail
    assert told(misbehaving.answer, Order(text="next")) == "NEXT"


def test_a_child_writes_no_more_than_it_may(tmp_path: Path) -> None:
    file = tmp_path / "out"
    allowed = USUAL.model_copy(update={"file_bytes": 1000})
    assert told(misbehaving.write, Order(text=str(file), number=1001)) == "OSError"
    assert file.stat().st_size == 0
    assert told(misbehaving.write, Order(text=str(file), number=1001), allowed) == "OSError"
    assert told(misbehaving.write, Order(text=str(file), number=1000), allowed) == "written"


def test_a_child_opens_no_more_files_than_it_may() -> None:
    assert int(told(misbehaving.open_many, Order(number=1000))) < 64


def test_a_child_sees_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rp_secret")
    cwd, rest = told(misbehaving.look_around).split(" ", 1)
    assert cwd == "/"
    assert "RUNPOD_API_KEY" not in rest
    assert rest.endswith(" 0")


def test_a_child_has_no_network_where_the_kernel_lets_it_give_it_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003  # the socket's own signature
        host, port = server.getsockname()
        # A network of its own has a loopback that is down, and nothing else.
        if told(misbehaving.has_own_network) != "['lo']":
            pytest.skip("this kernel grants no network namespace")
        assert told(misbehaving.call, Order(text=f"{host}:{port}")) != "called"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("hides", [False, True], ids=["in its group", "in a group of its own"])
def test_what_a_child_started_ends_with_it(tmp_path: Path, *, hides: bool) -> None:
    allowed = USUAL.model_copy(update={"file_bytes": 1000})
    order = Order(text=str(tmp_path / "here"), number=hides)
    assert int(told(misbehaving.leave_a_child, order, allowed)) > 0
    assert (tmp_path / "here").exists()
    # It would sleep for ten minutes.
    wait_until(lambda: not _running(str(tmp_path)), what="the grandchild is gone")


def test_everything_ends_with_the_caller(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.media.misbehaving import Order, Told, sleep; "
        "from gpu_tasks.confinement.confined import Confines; from gpu_tasks.media.confined import run_confined\n"
        "print('go', flush=True)\n"
        "run_confined(sleep, Order(), reply=Told, confines=Confines(cpu_seconds=9, deadline_seconds=60))"
    )
    marked = {"PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=marked)
    with caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"go\n"
        wait_until(lambda: len(_marked(str(tmp_path))) == 3, what="caller, template and child run")
        caller.send_signal(signal.SIGKILL)
    # The child would sleep for a minute.
    wait_until(lambda: not _marked(str(tmp_path)), seconds=30, what="template and child are gone")


def test_a_call_that_is_interrupted_leaves_its_answer_to_nobody() -> None:
    class InterruptedCallError(Exception):
        pass

    def interrupt(_signal: int, _frame: object) -> None:
        raise InterruptedCallError

    told(misbehaving.answer)
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    try:
        timer.start()
        with pytest.raises(InterruptedCallError):
            told(misbehaving.sleep, Order(), USUAL)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert told(misbehaving.answer, Order(text="next")) == "NEXT"


def test_everything_ends_with_the_caller_even_when_its_socket_is_held_open(tmp_path: Path) -> None:
    # A process that the caller forked holds the caller's end of the socket.
    code = (
        "import os, sys, time; from tests.media.misbehaving import Order, Told, answer, sleep; "
        "from gpu_tasks.confinement.confined import Confines; from gpu_tasks.media.confined import run_confined\n"
        "how = {'reply': Told, 'confines': Confines(cpu_seconds=9, deadline_seconds=60)}\n"
        "run_confined(answer, Order(), **how)\n"
        "if not os.fork():\n    time.sleep(240)\n    os._exit(0)\n"
        "print('go', flush=True)\n"
        "run_confined(sleep, Order(), **how)"
    )
    marked = {"PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=marked, start_new_session=True)
    with caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"go\n"
        wait_until(lambda: len(_marked(str(tmp_path))) == 4, what="caller, fork, template and child run")
        caller.send_signal(signal.SIGKILL)
        caller.wait(60)
        wait_until(lambda: len(_marked(str(tmp_path))) == 1, seconds=30, what="template and child are gone")
        os.killpg(caller.pid, signal.SIGKILL)


def test_a_start_costs_one_fork() -> None:
    took = []
    for _ in range(5):
        begun = time.monotonic()
        told(misbehaving.answer)
        took.append(time.monotonic() - begun)
    # About 10 ms each, all of one parent; an interpreter that loads the decoders takes half a second.
    assert min(took) < 0.25, took
    assert len({told(misbehaving.name_parent) for _ in range(3)}) == 1


def _running(word: str) -> list[int]:
    """Processes with a word on their command line."""
    return _processes("cmdline", word)


def _marked(word: str) -> list[int]:
    """Processes with a word in the environment that they were started with."""
    return _processes("environ", word)


def _processes(file: str, word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / file).read_bytes():
                found.append(int(folder.name))
        except OSError:
            # It ended while we looked.
            continue
    return found
