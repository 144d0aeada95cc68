"""A real control plane process for tests, and a client that speaks to a plane or to the real service."""

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from deployments.local.control_plane.settings import (
    ControlPlaneConfig,
    EndpointConfig,
    Limits,
    Scaler,
    Timings,
    write_config,
)
from tests.waiting import PATIENCE_SECONDS, await_until, wait_until

API_KEY = "a-key-of-the-tests"
WORKERS = Path(__file__).parent / "workers"
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
# A second on an idle machine; whether it waited for its workers' jobs is told by their histories.
STOP_SECONDS = 30.0

# Shorter than the documented limits, so that the suite does not wait for them.
QUICK_LIMITS = Limits(shortest_execution_timeout_ms=100, shortest_ttl_ms=100, webhook_pause_seconds=0.3)
QUICK_TIMINGS = Timings(kill_grace_seconds=1.0, poll_hold_seconds=5, tick_seconds=0.05)


def endpoint(  # noqa: PLR0913 - every one a field of the configuration
    name: str,
    worker: str,
    *,
    min_workers: int = 1,
    max_workers: int = 1,
    concurrency: int = 1,
    idle_seconds: float = 60,
    scaler: Scaler = Scaler.REQUEST_COUNT,
) -> EndpointConfig:
    """An endpoint that runs one of the sample workers of this folder."""
    return EndpointConfig(
        id=name,
        command=(sys.executable, str(WORKERS / f"{worker}.py")),
        env={"CONCURRENCY": str(concurrency)},
        min_workers=min_workers,
        max_workers=max_workers,
        idle_seconds=idle_seconds,
        scaler=scaler,
    )


def plane_config(folder: Path, *endpoints: EndpointConfig, **changes: Any) -> ControlPlaneConfig:  # noqa: ANN401 - fields of the model
    """A configuration whose files are all in `folder`."""
    quick = {"limits": QUICK_LIMITS, "timings": QUICK_TIMINGS} | changes
    return ControlPlaneConfig(
        api_key=SecretStr(API_KEY),
        address_file=folder / "address",
        database=folder / "jobs.sqlite3",
        log_dir=folder / "logs",
        endpoints=endpoints,
        **quick,
    )


@dataclass(frozen=True)
class RunningPlane:
    base_url: str
    process: subprocess.Popen[bytes]
    config: ControlPlaneConfig

    def stop(self) -> int:
        """Ask it to stop as an operator does, and fail if that takes too long."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def running_plane(config: ControlPlaneConfig) -> Iterator[RunningPlane]:
    """Run the plane's own command on `config`; whatever the test does, it is gone afterwards."""
    config.address_file.unlink(missing_ok=True)  # a killed plane leaves its own
    config_file = config.database.with_name("plane.json")
    write_config(config_file, config)
    with (
        config.database.with_name("plane.log").open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-m", "deployments.local.control_plane", str(config_file)], stderr=log
        ) as process,
    ):
        try:

            def address() -> str | None:
                assert process.poll() is None, "the plane ended at its start"
                return config.address_file.read_text() if config.address_file.exists() else None

            base_url = wait_until(address, what="the plane says where it listens")
            yield RunningPlane(base_url, process, config)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


async def comes_true(look: Callable[[], Awaitable[bool]], *, what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Return when `look` says so, or fail with `what` after `seconds`."""
    seen: bool = await await_until(look, seconds=seconds, what=what)
    assert seen


class EndpointClient:
    """One endpoint, of a plane or of the real service, as a client sees it."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, endpoint_id: str) -> None:
        self._http, self._base_url, self.id = http, base_url, endpoint_id

    async def ask(self, method: str, path: str, **how: Any) -> Answer:  # noqa: ANN401 - passed to aiohttp
        """Any route under the base URL."""
        async with self._http.request(method, f"{self._base_url}/{path}", **how) as answer:
            typed = answer.content_type == "application/json"
            return Answer(answer.status, await answer.json() if typed else await answer.text())

    async def get(self, operation: str, **how: Any) -> Answer:  # noqa: ANN401 - passed to aiohttp
        return await self.ask("GET", f"v2/{self.id}/{operation}", **how)

    async def post(self, operation: str, **how: Any) -> Answer:  # noqa: ANN401 - passed to aiohttp
        return await self.ask("POST", f"v2/{self.id}/{operation}", **how)

    async def run(self, job_input: dict[str, Any], **more: Any) -> str:  # noqa: ANN401 - fields of the body
        """Submit a job; returns its id."""
        answer = await self.post("run", json={"input": job_input, **more})
        assert answer.status == 200, answer
        return str(answer.body["id"])

    async def until(self, job_id: str, *statuses: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """The job's status body as soon as its status is one of these."""

        async def view() -> dict[str, Any] | None:
            answer = await self.get(f"status/{job_id}")
            assert answer.status == 200, answer
            body: dict[str, Any] = answer.body
            if body["status"] in FINAL and body["status"] not in statuses:
                raise AssertionError(f"wanted {statuses}, got {body}")
            return body if body["status"] in statuses else None

        return await await_until(view, seconds=seconds, what=f"the job is one of {statuses}")

    async def until_gone(self, job_id: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Return when the job is unknown."""

        async def gone() -> bool:
            return (await self.get(f"status/{job_id}")).status == 404

        await comes_true(gone, seconds=seconds, what="the job is gone")

    async def set_faults(self, **faults: Any) -> None:  # noqa: ANN401 - fields of the model
        """Replace the injected faults of this endpoint; none without arguments."""
        answer = await self.ask("POST", f"local/faults/{self.id}", json=faults)
        assert answer.status == 200, answer

    async def counters(self) -> dict[str, int]:
        counters: dict[str, int] = (await self.ask("GET", "local/counters")).body["endpoints"][self.id]
        return counters

    async def workers(self) -> list[dict[str, Any]]:
        workers: list[dict[str, Any]] = (await self.ask("GET", f"local/workers/{self.id}")).body["workers"]
        return workers

    async def until_waiting(self, workers: int = 1, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """The workers, once this many of them hold a take and would start a job at once."""

        async def waiting() -> list[dict[str, Any]] | None:
            found = [worker for worker in await self.workers() if worker["waiting"]]
            return found if len(found) >= workers else None

        return await await_until(waiting, seconds=seconds, what=f"{workers} workers wait for a job")
