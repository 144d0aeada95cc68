"""The door under load, as ratios to the least that could answer: reading, pushing, starting."""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import aiohttp
import httpx
import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelled

from blocks import record_changes
from blocks.connections import close_shared
from blocks.job_store import Change, JobStore
from deployments.local.services import ServiceName
from flows.request import DEPLOYMENT
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.storage import connect
from tests.api.shim import Environment, environment_of, settings_of, shim_process
from tests.servers import running_stack
from tests.waiting import wait_until

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

TASKS = 300
CONNECTIONS = 16
ROUND_SECONDS = 4.0
ROUNDS = 5
LISTENERS = 500
LISTENED_TASKS = 100

Say = Callable[[str], None]


class Load(NamedTuple):
    """One round: answers per second, and the 99th percentile of their times in milliseconds."""

    per_second: float
    p99_ms: float


@pytest.fixture(scope="module")
def environment() -> Iterator[Environment]:
    with running_stack(ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE) as running:
        yield environment_of(running.addresses)


@pytest.fixture(scope="module")
def shim(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with shim_process(environment, tmp_path_factory.mktemp("shim")) as running:
        yield running


@pytest.fixture(scope="module")
def bare(environment: Environment) -> Iterator[str]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "tests.benchmarks.bare_reader", str(port)]
    with subprocess.Popen(command, env={**os.environ, **environment}, cwd=Path(__file__).parents[2]) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url), seconds=30, what="the bare reader answers")
        yield url
        process.terminate()


@pytest.fixture
async def store(environment: Environment) -> AsyncIterator[JobStore]:
    yield JobStore(redis_url=settings_of(environment).jobstore_redis_url, ttl_seconds=3600)
    await close_shared()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def told(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)  # noqa: T201  # a benchmark's figures are its output

    return told


async def _half_done(shim_url: str, environment: Environment, store: JobStore, count: int) -> list[str]:
    """Start tasks through the door, and write down what their flows would have by now; returns their ids."""
    few_at_once = asyncio.Semaphore(8)
    async with _tasks(shim_url, environment) as start:

        async def begin() -> str:
            async with few_at_once:
                task_id: str = await start()
            assert await store.change(task_id, lambda record: record and _worked_on(record)) is not None
            return task_id

        return list(await asyncio.gather(*(begin() for _ in range(count))))


def _worked_on(record: TaskRecord) -> TaskRecord:
    now = datetime.now(UTC)
    for stage in (Stage.INGEST, Stage.WAV2LIP):
        record = record_changes.entered(record, stage, now=now)
    record = record_changes.noted(record, now=now, details={"engine": "draft", "wav2lip_job_id": "x"})
    return record_changes.progressed(record, Stage.WAV2LIP, 40.0, "120 of 300", now=now)


async def _load(url: str, task_ids: list[str]) -> Load:
    """Read records for a while over a few connections."""
    seconds: list[float] = []
    deadline = time.perf_counter() + ROUND_SECONDS

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def read(number: int) -> None:
            place = number
            while time.perf_counter() < deadline:
                begun = time.perf_counter()
                async with session.get(f"{url}/status/{task_ids[place % len(task_ids)]}") as answer:
                    body = await answer.read()
                seconds.append(time.perf_counter() - begun)
                assert answer.status == httpx.codes.OK
                assert body
                place += CONNECTIONS

        begun = time.perf_counter()
        await asyncio.gather(*(read(number) for number in range(CONNECTIONS)))
        took = time.perf_counter() - begun
    return Load(len(seconds) / took, 1000 * statistics.quantiles(seconds, n=100)[98])


async def test_reading_a_status_is_hardly_slower_than_a_bare_get(
    shim: tuple[str, Path], bare: str, environment: Environment, store: JobStore, say: Say
) -> None:
    task_ids = await _half_done(shim[0], environment, store, TASKS)
    rounds: dict[str, list[Load]] = {bare: [], shim[0]: []}
    for url in (bare, shim[0]):
        await _load(url, task_ids)
    for number in range(ROUNDS):
        # Flows that work say so; a record that nobody has touched for a minute is compared with Prefect.
        await asyncio.gather(*(store.change(task_id, _progress_to(50.0 + number)) for task_id in task_ids))
        # In turn, so that both meet the same machine.
        for url, done in rounds.items():
            done.append(await _load(url, task_ids))
    ours, theirs = rounds[shim[0]], rounds[bare]
    rate = statistics.median(mine.per_second / other.per_second for mine, other in zip(ours, theirs, strict=True))
    p99 = statistics.median(mine.p99_ms / other.p99_ms for mine, other in zip(ours, theirs, strict=True))
    say(
        f"GET /status, {TASKS} running tasks: {statistics.median(each.per_second for each in ours):.0f}/s against "
        f"{statistics.median(each.per_second for each in theirs):.0f}/s bare, ratio {rate:.2f}; p99 ratio {p99:.2f}"
    )
    assert rate >= 0.6
    assert p99 <= 2.0


async def test_five_hundred_listeners_take_little_memory(
    shim: tuple[str, Path], environment: Environment, store: JobStore, say: Say
) -> None:
    url = shim[0]
    (process,) = (each for each in psutil.Process().children(recursive=True) if _listens(each, url))
    task_ids = await _half_done(url, environment, store, LISTENED_TASKS)
    before = process.memory_info().rss
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        heard = asyncio.Semaphore(0)

        async def listen(task_id: str) -> None:
            async with session.get(f"{url}/events/{task_id}", timeout=aiohttp.ClientTimeout(total=None)) as answer:
                async for line in answer.content:
                    if line.startswith(b"data:"):
                        heard.release()

        listening = [asyncio.create_task(listen(task_ids[place % LISTENED_TASKS])) for place in range(LISTENERS)]
        async with asyncio.timeout(60):
            await _acquired(heard, LISTENERS)
        begun = time.perf_counter()
        for percent in (50.0, 60.0, 70.0):
            for task_id in task_ids:
                await store.change(task_id, _progress_to(percent))
        async with asyncio.timeout(60):
            await _acquired(heard, LISTENERS)
        pushed = time.perf_counter() - begun
        after = process.memory_info().rss
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    grown = (after - before) / 1e6
    say(f"{LISTENERS} listeners of {LISTENED_TASKS} tasks: +{grown:.0f} MB ({after / 1e6:.0f} in all), {pushed:.1f} s")
    assert grown < 150


async def test_a_change_reaches_listeners_at_once(
    shim: tuple[str, Path], environment: Environment, store: JobStore, say: Say
) -> None:
    flow_ms, prefect_ms = [], []
    async with _tasks(shim[0], environment) as start, PrefectClient(environment["PREFECT_API_URL"]) as prefect:
        for _ in range(40):
            task_id = await start()
            async with _listening(shim[0], task_id) as listener:
                await anext(listener)
                begun = time.perf_counter()
                now = datetime.now(UTC)
                changing = store.change(
                    task_id,
                    lambda record: record and record_changes.entered(record, Stage.INGEST, now=now),  # noqa: B023  # at once
                )
                await asyncio.gather(changing, anext(listener))
                flow_ms.append(1000 * (time.perf_counter() - begun))
                begun = time.perf_counter()
                await prefect.set_flow_run_state(UUID(task_id), Cancelled(), force=True)
                async for record in listener:
                    if record["status"] == "cancelled":
                        break
                prefect_ms.append(1000 * (time.perf_counter() - begun))
    say(f"from a flow's write to a listener: {_spread(flow_ms)}; from a state in Prefect: {_spread(prefect_ms)}")
    assert statistics.quantiles(flow_ms, n=20)[18] < 200
    assert statistics.quantiles(prefect_ms, n=20)[18] < 200


@pytest.mark.timeout(600)
async def test_a_request_runs_within_a_second(tmp_path: Path, say: Say) -> None:
    samples = Path(__file__).parents[2] / "samples"
    seconds = []
    with running_stack() as stack:
        at = stack.addresses
        environment = environment_of(at)
        media = connect(settings_of(environment).r2)
        media.put_file(samples / "speech.wav", "uploads/audio/a.wav", "audio/wav")
        media.put_file(samples / "target.mp4", "uploads/video/t.mp4", "video/mp4")
        async with _tasks(at.api_url, environment) as start:
            for _ in range(8):
                begun = time.perf_counter()
                task_id = await start()
                async with _listening(at.api_url, task_id) as listener:
                    async for record in listener:
                        if record["status"] != "pending":
                            seconds.append(time.perf_counter() - begun)
                            break
                    async with httpx.AsyncClient(base_url=at.api_url) as http:
                        await http.post(f"/cancel/{task_id}")
                    async for _record in listener:
                        pass
    say(f"POST /run to running: {_spread([1000 * each for each in seconds])} ({tmp_path.name})")
    assert statistics.median(seconds) < 1.0


@asynccontextmanager
async def _tasks(url: str, environment: Environment) -> AsyncIterator[Callable[[], Any]]:
    """Yield what starts a task and returns its id."""
    media = connect(settings_of(environment).r2)
    keys = {"audio_key": "uploads/audio/a.wav", "target_key": "uploads/video/t.mp4"}
    async with PrefectClient(environment["PREFECT_API_URL"]) as prefect:
        name, _, deployment = DEPLOYMENT.partition("/")
        if not await prefect.read_deployments():
            flow_id = await prefect.create_flow_from_name(name)
            await prefect.create_deployment(flow_id=flow_id, name=deployment, enforce_parameter_schema=False)
            for key in keys.values():
                media._client.put_object(Bucket=media._bucket, Key=key, Body=b"bytes")
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:

        async def start() -> str:
            answer = await http.post("/run", json={**keys, "labels": {"order": "17"}})
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            return str(answer.json()["task_id"])

        yield start


@asynccontextmanager
async def _listening(url: str, task_id: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Yield the records that are pushed."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as http, http.stream("GET", f"/events/{task_id}") as answer:

        async def records() -> AsyncIterator[dict[str, Any]]:
            is_record = False
            async for line in answer.aiter_lines():
                if line.startswith("event:"):
                    is_record = line == "event: record"
                elif line.startswith("data:") and is_record:
                    yield json.loads(line.removeprefix("data:"))

        yield records()


def _progress_to(percent: float) -> Change:
    """Return the change by which a flow tells how far it is."""

    def change(record: TaskRecord | None) -> TaskRecord | None:
        now = datetime.now(UTC)
        return record and record_changes.progressed(record, Stage.WAV2LIP, percent, f"{percent:g}", now=now)

    return change


async def _acquired(semaphore: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        await semaphore.acquire()


def _spread(milliseconds: list[float]) -> str:
    p95 = statistics.quantiles(milliseconds, n=20)[18]
    return f"p50 {statistics.median(milliseconds):.0f} ms, p95 {p95:.0f} ms, n {len(milliseconds)}"


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/docs", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _listens(process: psutil.Process, url: str) -> bool:
    port = int(url.rpartition(":")[2])
    try:
        return any(each.laddr.port == port and each.status == psutil.CONN_LISTEN for each in process.net_connections())
    except psutil.Error:
        return False
