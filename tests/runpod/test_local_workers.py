"""What happens to real worker processes: stops, kills, deaths, lost leases. Local plane only."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.runpod.plane import (
    API_KEY,
    QUICK_TIMINGS,
    EndpointClient,
    comes_true,
    endpoint,
    plane_config,
    running_plane,
)
from tests.waiting import await_until

pytestmark = pytest.mark.local_only


@pytest.fixture(scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EndpointClient]:
    """Asynchronous handlers on a plane that does not kill a worker because it is slow to stop a job."""
    timings = QUICK_TIMINGS.model_copy(update={"kill_grace_seconds": 30.0, "cleanup_grace_seconds": 60.0})
    config = plane_config(
        tmp_path_factory.mktemp("patient"), endpoint("patient", "cooperative", concurrency=4), timings=timings
    )
    with running_plane(config) as plane:
        async with aiohttp.ClientSession(headers={"Authorization": API_KEY}) as http:
            yield EndpointClient(http, plane.base_url, "patient")


async def _started(mark: Path) -> list[int]:
    """The process ids in the handler's mark, once it is written whole."""

    def written() -> list[int]:
        text = mark.read_text(encoding="utf-8") if mark.exists() else ""
        return [int(word) for word in text.split()] if text.endswith("\n") else []

    return await await_until(written, what="the handler runs")


async def _gone_before_their_time(pids: list[int]) -> None:
    """Return when these are gone, worker and child of a job of two minutes."""
    assert await await_until(lambda: not any(_lives(pid) for pid in pids), what="worker and child are gone")


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def _history(client: EndpointClient, job: str) -> list[tuple[str, str]]:
    body: dict[str, Any] = (await client.ask("GET", f"local/jobs/{client.id}/{job}")).body
    return [(one["worker_id"], one["how"]) for one in body["executions"]]


async def test_a_cancelled_asynchronous_handler_is_stopped_and_its_worker_lives_on(
    patient: EndpointClient, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    job = await patient.run({"seconds": 120, "mark": str(mark)})
    (pid,) = await _started(mark)
    await patient.post(f"cancel/{job}")
    stopped = mark.with_suffix(".cancelled")
    assert await await_until(stopped.exists, what="the handler is cancelled")
    assert (await patient.until(await patient.run({}), "COMPLETED"))["output"]["pid"] == pid


async def test_a_job_cancelled_the_moment_it_is_taken_still_stops(patient: EndpointClient, tmp_path: Path) -> None:
    """The SDK drops a stop that arrives before the handler's task exists, so the plane repeats it."""
    mark = tmp_path / "mark"
    await patient.until_waiting()
    job = await patient.run({"seconds": 120, "mark": str(mark)})
    await patient.post(f"cancel/{job}")

    async def let_go() -> bool:
        return all(job not in worker["jobs"] for worker in await patient.workers())

    await comes_true(let_go, what="no worker holds the job")
    assert not mark.exists() or mark.with_suffix(".cancelled").exists()


async def test_cancelling_a_synchronous_handler_kills_its_worker_with_all_children(
    mortal: EndpointClient, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    job = await mortal.run({"seconds": 120, "mark": str(mark)})
    pids = await _started(mark)
    assert [pid for pid in pids if _lives(pid)] == pids
    await mortal.post(f"cancel/{job}")
    await _gone_before_their_time(pids)
    assert [how for _, how in await _history(mortal, job)] == ["cancelled"]
    assert (await mortal.until(await mortal.run({}), "COMPLETED"))["output"]["pid"] not in pids


async def test_a_job_survives_the_death_of_its_worker(mortal: EndpointClient, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    # Longer than it takes to see it and to kill its worker.
    job = await mortal.run({"seconds": 4, "mark": str(mark), "echo": "survived"})
    worker, child = await _started(mark)
    os.kill(worker, signal.SIGKILL)
    done = await mortal.until(job, "COMPLETED")
    assert done["output"]["echo"] == "survived"
    assert done["retries"] == 1
    (first, died), (second, completed) = await _history(mortal, job)
    assert (died, completed) == ("worker_died", "completed")
    assert first != second
    assert not _lives(child)


async def test_a_second_death_fails_the_job_and_a_retry_revives_it(mortal: EndpointClient, tmp_path: Path) -> None:
    marks = tmp_path / "mark"
    job = await mortal.run({"seconds": 4, "mark": str(marks)})
    for death in (1, 2):
        await await_until(
            lambda: marks.exists() and len(marks.read_text(encoding="utf-8").splitlines()) == death,  # noqa: B023 - awaited here
            what=f"run {death} has begun",
        )
        os.kill(int(marks.read_text(encoding="utf-8").splitlines()[-1].split()[0]), signal.SIGKILL)
    assert "worker_died" in (await mortal.until(job, "FAILED"))["error"]
    assert (await mortal.post(f"retry/{job}")).body["status"] == "IN_QUEUE"
    await mortal.until(job, "COMPLETED")


async def test_the_ping_process_of_a_killed_worker_does_not_outlive_it(mortal: EndpointClient, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = await mortal.run({"seconds": 4, "mark": str(mark)})
    pid, _ = await _started(mark)
    family = [child.pid for child in psutil.Process(pid).children()]
    assert len(family) == 2, "the SDK's ping process and the handler's program"
    os.kill(pid, signal.SIGKILL)
    assert await await_until(lambda: not any(_lives(child) for child in family), what="the ping process is gone")
    await mortal.until(job, "COMPLETED")


async def test_a_timed_out_synchronous_job_loses_its_worker(mortal: EndpointClient, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    job = await mortal.run({"seconds": 120, "mark": str(mark)}, policy={"executionTimeout": 3000})
    pids = await _started(mark)
    await mortal.until(job, "TIMED_OUT")
    await _gone_before_their_time(pids)


async def test_a_worker_that_asks_for_a_refresh_is_replaced_after_its_job(
    cooperative: EndpointClient,
) -> None:
    old = (await cooperative.until(await cooperative.run({"refresh": True}), "COMPLETED"))["output"]["pid"]
    new = (await cooperative.until(await cooperative.run({}), "COMPLETED"))["output"]["pid"]
    assert new != old


async def test_a_worker_sees_only_what_it_is_meant_to_see(mortal: EndpointClient) -> None:
    os.environ["A_SECRET_OF_THE_OPERATOR"] = API_KEY
    done = await mortal.until(await mortal.run({}), "COMPLETED")
    del os.environ["A_SECRET_OF_THE_OPERATOR"]
    names = set(done["output"]["environment"])
    assert "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS" in names
    assert names <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "CONCURRENCY"} | {
        name for name in names if name.startswith(("RUNPOD_", "PYTHON", "LC_", "SSL_CERT_", "LD_"))
    }


async def test_no_job_is_lost_when_a_worker_dies_with_several(cooperative: EndpointClient) -> None:
    # Long enough for all to be at work when their worker is killed.
    jobs = [await cooperative.run({"seconds": 5, "echo": number}) for number in range(3)]

    async def held() -> list[str] | None:
        return next((w["jobs"] for w in await cooperative.workers() if len(w["jobs"]) > 1), None)

    several: list[str] = await await_until(held, what="a worker holds several jobs")
    os.kill((await cooperative.workers())[0]["pid"], signal.SIGKILL)
    views = {job: await cooperative.until(job, "COMPLETED") for job in jobs}
    assert [view["output"]["echo"] for view in views.values()] == [0, 1, 2]
    assert [views[job]["retries"] for job in several] == [1] * len(several)
