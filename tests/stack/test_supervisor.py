import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deployments.local.errors import NotReady, ServiceFailed, ServiceGaveUp
from deployments.local.layout import DataDirectory
from deployments.local.leftovers import ChildRecords
from deployments.local.processes import MARK, Program, base_environment
from deployments.local.services import (
    Happening,
    Service,
    ServiceName,
    StackEvent,
    stop_layers,
    with_dependencies,
)
from deployments.local.supervisor import Supervisor
from tests.waiting import PATIENCE_SECONDS, await_until

# Tells that it is up by a file, which its probe looks for.
READY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); "
SLEEP = READY + "time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
GRANDCHILD = (
    "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    " start_new_session=True); "
)


class House:
    """Makes services of small programs and hears what happens to them."""

    def __init__(self, root: Path) -> None:
        self.directory = DataDirectory(root / "stack")
        self.directory.create()
        self.events: list[StackEvent] = []

    def service(
        self, name: ServiceName, code: str, *, depends_on: frozenset[ServiceName] = frozenset(), **changes: object
    ) -> Service:
        sign = self.directory.root / f"{name}.ready"

        async def forget() -> None:
            await asyncio.to_thread(sign.unlink, missing_ok=True)

        async def look() -> None:
            if not await asyncio.to_thread(sign.exists):
                raise NotReady("no sign")

        return Service(
            name=name,
            program=Program(
                command=(sys.executable, "-c", code, str(sign)),
                log_path=self.directory.log(name),
                directory=self.directory.root,
                environment=base_environment(self.directory.home),
            ),
            depends_on=depends_on,
            prepare=forget,
            probe=look,
            start_seconds=PATIENCE_SECONDS,
            stop_seconds=20.0,
        ).model_copy(update=changes)

    def supervisor(self, *services: Service) -> Supervisor:
        return Supervisor(services, self.directory, ChildRecords(self.directory.children), self.events.append)

    def order(self, what: Happening) -> list[ServiceName]:
        return [event.service for event in self.events if event.what is what and event.service]

    def processes(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if marked(p, self.directory.mark(""))]


def marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK, "").startswith(mark)
    except psutil.Error:
        return False


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_a_service_starts_after_what_it_stands_on_and_stops_before_it(house: House) -> None:
    base = house.service(ServiceName.POSTGRES, SLEEP)
    upper = house.service(ServiceName.PREFECT_SERVER, SLEEP, depends_on=frozenset({ServiceName.POSTGRES}))
    async with house.supervisor(upper, base):
        assert house.order(Happening.READY) == [ServiceName.POSTGRES, ServiceName.PREFECT_SERVER]
    assert house.order(Happening.STOPPED) == [ServiceName.PREFECT_SERVER, ServiceName.POSTGRES]
    assert house.processes() == []


async def test_services_that_do_not_need_each_other_start_together(house: House) -> None:
    # Longer than the last one may begin after the first.
    slow = READY.replace("pathlib.Path", "time.sleep(3); pathlib.Path") + "time.sleep(60)"
    names = (ServiceName.POSTGRES, ServiceName.VALKEY, ServiceName.OBJECT_STORE)
    async with house.supervisor(*(house.service(name, slow) for name in names)):
        first_ready = [event.what for event in house.events].index(Happening.READY)
        assert len(house.order(Happening.STARTING)) == first_ready == 3


async def test_a_service_that_died_is_started_again(house: House) -> None:
    async with house.supervisor(house.service(ServiceName.VALKEY, SLEEP)) as supervisor:
        keeper = supervisor.keeper(ServiceName.VALKEY)
        first = supervisor.pids()[ServiceName.VALKEY]
        psutil.Process(first).kill()
        await await_until(
            lambda: keeper.ready.is_set() and supervisor.pids().get(ServiceName.VALKEY) not in {None, first},
            what="the service runs again",
        )
        assert [event.detail for event in house.events if event.what is Happening.DIED] == ["signal 9"]


async def test_a_service_that_is_held_back_stays_away_until_it_may_start(house: House) -> None:
    async with house.supervisor(house.service(ServiceName.VALKEY, SLEEP)) as supervisor:
        keeper = supervisor.keeper(ServiceName.VALKEY)
        with keeper.held_back():
            keeper.kill()
            await await_until(lambda: house.order(Happening.DIED), what="its death is noticed")
            # Otherwise it would be started a tenth of a second later.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await keeper.ready.wait()
            assert house.order(Happening.STARTING) == [ServiceName.VALKEY]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await keeper.ready.wait()


async def test_a_service_that_keeps_dying_is_given_up_and_named(house: House) -> None:
    # It answers, then dies: one that is dead when its probe succeeds has not answered itself. The first one has to be
    # seen alive for the start to succeed.
    lives = "been = pathlib.Path(sys.argv[1] + '.been'); is_first = not been.exists(); been.touch(); "
    brief = house.service(ServiceName.VALKEY, READY + lives + "time.sleep(5 if is_first else 0.5)")
    async with house.supervisor(brief) as supervisor:
        async with asyncio.timeout(120):
            error = await supervisor.until_gave_up()
        assert isinstance(error, ServiceGaveUp)
        assert str(house.directory.log(ServiceName.VALKEY)) in str(error)
        assert house.order(Happening.GAVE_UP) == [ServiceName.VALKEY]


async def test_a_start_that_fails_names_the_service_and_stops_the_others(house: House) -> None:
    fine = house.service(ServiceName.POSTGRES, SLEEP)
    broken = house.service(ServiceName.VALKEY, "raise SystemExit(3)", depends_on=frozenset({ServiceName.POSTGRES}))
    with pytest.raises(ServiceFailed, match="valkey did not start: it ended with exit code 3"):
        async with house.supervisor(fine, broken):
            pass
    assert house.processes() == []


async def test_a_service_that_never_answers_is_ended_at_its_deadline(house: House) -> None:
    mute = house.service(ServiceName.VALKEY, "import time; time.sleep(60)", start_seconds=1.0)
    with pytest.raises(ServiceFailed, match=r"not ready within 1 s \(no sign\)"):
        async with house.supervisor(mute):
            pass
    assert house.processes() == []


async def test_what_stands_on_a_one_shot_step_starts_after_its_success(house: House) -> None:
    step = house.service(ServiceName.DEPLOY, "pass", one_shot=True)
    upper = house.service(ServiceName.API, SLEEP, depends_on=frozenset({ServiceName.DEPLOY}))
    async with house.supervisor(step, upper) as supervisor:
        assert house.order(Happening.READY) == [ServiceName.DEPLOY, ServiceName.API]
        assert list(supervisor.pids()) == [ServiceName.API]


async def test_what_stands_on_a_one_shot_step_does_not_start_after_its_failure(house: House) -> None:
    step = house.service(ServiceName.DEPLOY, "raise SystemExit(1)", one_shot=True)
    upper = house.service(ServiceName.API, SLEEP, depends_on=frozenset({ServiceName.DEPLOY}))
    with pytest.raises(ServiceFailed, match="deploy did not start: it ended with exit code 1"):
        async with house.supervisor(step, upper):
            pass
    assert house.order(Happening.STARTING) == [ServiceName.DEPLOY]


async def test_a_service_that_ignores_the_signal_is_killed_in_time(house: House) -> None:
    async with house.supervisor(house.service(ServiceName.VALKEY, STUBBORN, stop_seconds=0.5)):
        began = time.monotonic()
    # It would sleep for a minute.
    assert time.monotonic() - began < 30
    assert house.order(Happening.KILLED) == [ServiceName.VALKEY]
    assert house.processes() == []


async def test_what_a_service_started_in_its_own_session_ends_with_it(house: House) -> None:
    code = SLEEP.replace("time.sleep", GRANDCHILD + "time.sleep")
    async with house.supervisor(house.service(ServiceName.CONTROL_PLANE, code)):
        await await_until(lambda: len(house.processes()) == 2, what="both processes run")
    assert house.processes() == []


async def test_a_service_died_leaves_no_grandchild_to_its_successor(house: House) -> None:
    code = SLEEP.replace("time.sleep", GRANDCHILD + "time.sleep")
    async with house.supervisor(house.service(ServiceName.CONTROL_PLANE, code)) as supervisor:
        await await_until(lambda: len(house.processes()) == 2, what="both processes run")
        first = house.processes()
        psutil.Process(supervisor.pids()[ServiceName.CONTROL_PLANE]).kill()
        await await_until(
            lambda: len(house.processes()) == 2 and not any(p.is_running() for p in first),
            # Before it would end by itself.
            seconds=30,
            what="a new pair runs and the old one is gone",
        )


async def test_a_child_gets_the_signals_a_background_shell_ignores(house: House) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        tell = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler); " + SLEEP
        async with house.supervisor(house.service(ServiceName.VALKEY, tell)):
            log = house.directory.log(ServiceName.VALKEY)
            assert await asyncio.to_thread(log.read_text) == "True\n"
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_child_inherits_no_variable_of_ours(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "somebody's")
    async with house.supervisor(house.service(ServiceName.VALKEY, SLEEP)) as supervisor:
        seen = psutil.Process(supervisor.pids()[ServiceName.VALKEY]).environ()
    assert "AWS_SECRET_ACCESS_KEY" not in seen
    assert seen["HOME"] == str(house.directory.home)


async def test_a_cancelled_start_leaves_nothing(house: House) -> None:
    mute = house.service(ServiceName.VALKEY, "import time; time.sleep(60)")
    entering = asyncio.create_task(house.supervisor(mute).__aenter__())
    await await_until(house.processes, what="its process runs")
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert house.processes() == []


def test_a_circle_of_dependencies_is_refused(house: House) -> None:
    one = house.service(ServiceName.POSTGRES, SLEEP, depends_on=frozenset({ServiceName.VALKEY}))
    other = house.service(ServiceName.VALKEY, SLEEP, depends_on=frozenset({ServiceName.POSTGRES}))
    with pytest.raises(ValueError, match="circle"):
        stop_layers((one, other))


def test_a_part_brings_what_it_stands_on(house: House) -> None:
    make: Callable[..., Service] = house.service
    base = make(ServiceName.POSTGRES, SLEEP)
    other = make(ServiceName.VALKEY, SLEEP)
    upper = make(ServiceName.PREFECT_SERVER, SLEEP, depends_on=frozenset({ServiceName.POSTGRES}))
    assert with_dependencies(frozenset({upper.name}), (base, other, upper)) == (base, upper)
