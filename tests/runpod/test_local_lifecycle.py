"""The plane as a process: starts, stops, crashes, restarts, scales. Local plane only."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import psutil
import pytest

from deployments.local.control_plane.fleet import Load, wanted_workers
from deployments.local.control_plane.processes import WORKER_MARK
from deployments.local.control_plane.settings import (
    ConfigError,
    EndpointConfig,
    Scaler,
    read_config,
    write_config,
)
from tests.runpod.plane import (
    API_KEY,
    STOP_SECONDS,
    EndpointClient,
    RunningPlane,
    comes_true,
    endpoint,
    plane_config,
    running_plane,
)
from tests.waiting import await_until, wait_until

pytestmark = pytest.mark.local_only


@asynccontextmanager
async def _client(plane: RunningPlane) -> AsyncIterator[EndpointClient]:
    headers = {"Authorization": API_KEY}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield EndpointClient(session, plane.base_url, plane.config.endpoints[0].id)


def _worker_processes(endpoint_id: str) -> list[int]:
    """Every process that is or descends from a worker of this endpoint."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RUNPOD_ENDPOINT_ID") == endpoint_id and process.status() != "zombie":
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


async def test_a_restart_keeps_the_queue_in_order_and_runs_the_interrupted_job_first(tmp_path: Path) -> None:
    config = plane_config(tmp_path, endpoint("restarted", "cooperative"))
    with running_plane(config) as plane:
        async with _client(plane) as client:
            # For longer than it takes to see it and to stop the plane.
            interrupted = await client.run({"seconds": 4, "echo": "again"})
            first, second = [await client.run({"seconds": 120}) for _ in range(2)]
            await client.until(interrupted, "IN_PROGRESS")
        assert plane.stop() == 0
    assert _worker_processes("restarted") == []
    with running_plane(config) as plane:
        async with _client(plane) as client:
            done = await client.until(interrupted, "COMPLETED")
            await client.until(first, "IN_PROGRESS")
            assert (await client.get(f"status/{second}")).body["status"] == "IN_QUEUE"
            history = (await client.ask("GET", f"local/jobs/restarted/{interrupted}")).body["executions"]
    assert done["output"]["echo"] == "again"
    assert "retries" not in done, "a stop of the plane is not the job's fault"
    assert [one["how"] for one in history] == ["plane_stopped", "completed"]


async def test_a_killed_plane_leaves_no_worker_and_no_child_behind(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    config = plane_config(tmp_path, endpoint("orphaned", "blocking"))
    with running_plane(config) as plane:
        async with _client(plane) as client:
            job = await client.run({"seconds": 60, "mark": str(mark)})
            await await_until(mark.exists, what="the handler runs")
        plane.process.kill()
        plane.process.wait()
        # Sooner than by themselves: the job lasts for a minute.
        assert await await_until(lambda: not _worker_processes("orphaned"), seconds=30, what="the workers are gone")
    with running_plane(config) as plane:
        async with _client(plane) as client:
            history = (await client.ask("GET", f"local/jobs/orphaned/{job}")).body
    assert history["status"] in ("IN_QUEUE", "IN_PROGRESS")
    assert history["executions"][0]["how"] == "plane_stopped"


async def test_a_plane_ends_what_a_killed_plane_and_its_warden_left(tmp_path: Path) -> None:
    config = plane_config(tmp_path, endpoint("leftover", "bare"))
    with running_plane(config) as plane:
        async with _client(plane) as client:
            (worker,) = await client.until_waiting()
        wardens = [
            child for child in psutil.Process(plane.process.pid).children() if WORKER_MARK not in child.environ()
        ]
        assert len(wardens) == 1
        wardens[0].kill()
        plane.process.kill()
        plane.process.wait()
    assert psutil.pid_exists(worker["pid"])
    asleep = config.model_copy(update={"endpoints": (endpoint("leftover", "bare", min_workers=0),)})
    with running_plane(asleep):
        assert await await_until(lambda: not psutil.pid_exists(worker["pid"]), what="the old worker is gone")


async def test_workers_start_with_the_load_and_go_when_idle(tmp_path: Path) -> None:
    scaled = endpoint("scaled", "bare", min_workers=0, max_workers=2, idle_seconds=0.2)
    with running_plane(plane_config(tmp_path, scaled)) as plane:
        async with _client(plane) as client:
            assert await client.workers() == []
            # For longer than one of the two workers may start after the other, which would take both.
            jobs = [await client.run({"seconds": 6}) for _ in range(2)]
            views = [await client.until(job, "COMPLETED") for job in jobs]
            assert len({view["workerId"] for view in views}) == 2

            async def none_left() -> bool:
                return await client.workers() == []

            await comes_true(none_left, what="the idle workers are gone")


async def test_workers_that_cannot_start_show_as_unhealthy_and_are_started_slowly(tmp_path: Path) -> None:
    missing = EndpointConfig(id="missing", command=("/no/such/program",), min_workers=1)
    config = plane_config(tmp_path, endpoint("crashing", "crashing", max_workers=3), missing)
    with running_plane(config) as plane:
        async with _client(plane) as crashing:

            async def two_starts_failed() -> bool:
                return bool((await crashing.get("health")).body["workers"]["unhealthy"] >= 2)

            await comes_true(two_starts_failed, what="two starts have failed")
            counters = (await crashing.ask("GET", "local/counters")).body["endpoints"]
            health = (await crashing.ask("GET", "v2/missing/health")).body
    assert counters["crashing"]["workers_started"] <= 4
    assert health["workers"]["unhealthy"] == 1
    logs = list(config.log_dir.glob("crashing-*.log"))
    assert "cannot load the model" in logs[0].read_text(encoding="utf-8")


def test_files_with_the_key_and_with_jobs_are_private_and_an_interrupt_stops_all(tmp_path: Path) -> None:
    config = plane_config(tmp_path, endpoint("interrupted", "cooperative"))
    with running_plane(config) as plane:
        for file in (tmp_path / "plane.json", *tmp_path.glob("jobs.sqlite3*")):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        wait_until(lambda: _worker_processes("interrupted"), what="a worker process runs")
        plane.process.send_signal(signal.SIGINT)
        assert plane.process.wait(STOP_SECONDS) == 0
    assert _worker_processes("interrupted") == []
    assert not config.address_file.exists(), "a stopped plane has no address"


def test_a_configuration_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plane.json"
    write_config(file, plane_config(tmp_path, endpoint("open", "cooperative")))
    assert read_config(file).api_key.get_secret_value() == API_KEY
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_config(file)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"host": "0.0.0.0"}'])
def test_a_wrong_configuration_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plane.json"
    file.touch(0o600)
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_config(file)


def test_a_wrong_configuration_ends_the_program_with_one_sentence(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.local.control_plane", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"]},
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("scaler", "load", "wanted"),
    [
        (Scaler.REQUEST_COUNT, Load(0, 0, 0, 0, 0), 1),
        (Scaler.REQUEST_COUNT, Load(4, 1, 0, 1, 0), 3),
        (Scaler.REQUEST_COUNT, Load(40, 0, 0, 1, 0), 4),
        (Scaler.QUEUE_DELAY, Load(1, 1, 1.9, 1, 0), 1),
        (Scaler.QUEUE_DELAY, Load(1, 1, 2.1, 1, 0), 2),
        (Scaler.QUEUE_DELAY, Load(1, 1, 2.1, 2, 1), 2),
        (Scaler.QUEUE_DELAY, Load(0, 0, 0, 3, 0), 1),
    ],
)
def test_the_wanted_number_of_workers_follows_the_load(scaler: Scaler, load: Load, wanted: int) -> None:
    config = EndpointConfig(id="e", command=("w",), min_workers=1, max_workers=4, scaler=scaler, scaler_value=2)
    assert wanted_workers(config, load) == wanted
