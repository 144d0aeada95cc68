"""A page of tasks over 20,000 runs of history, beside Prefect's own filter call for the same page."""

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Completed

from blocks.connections import close_shared
from blocks.job_store import JobStore
from blocks.tags import label_tag
from deployments.local.services import ServiceName
from flows.request import DEPLOYMENT
from gpu_tasks.storage import connect
from tests.api.orchestra import PlayedFlow
from tests.api.shim import PREFIX, environment_of, settings_of, shim_process
from tests.servers import RunningStack, running_stack

pytestmark = pytest.mark.bench


class Figures(NamedTuple):
    """Milliseconds: our first answer, and the medians of ours and Prefect's."""

    first: float
    ours: float
    theirs: float


RUNS = 20_000
ROUNDS = 40
PAGE = 20

# Every run of the history is a copy of one that was made through the door: with its state and its final record.
_COPY = """
with made as (
    select gen_random_uuid() as run, gen_random_uuid() as state, age from generate_series(1, $2::int) as age
), runs as (
    insert into flow_run ({run_columns}) select {run_values} from flow_run r, made where r.id = $1 returning id
), states as (
    insert into flow_run_state ({state_columns})
    select {state_values} from flow_run_state s join flow_run r on r.state_id = s.id, made
    where r.id = $1 and (select count(*) from runs) > 0 returning id
), artifacts as (
    insert into artifact ({artifact_columns})
    select {artifact_values} from artifact a, made
    where a.flow_run_id = $1 and (select count(*) from states) > 0 returning id
)
select count(*) from artifacts
"""
_OLDER = "now() - made.age * interval '10 seconds'"
_RUN = {
    "id": "made.run",
    "state_id": "null",
    "created": _OLDER,
    "expected_start_time": _OLDER,
    "idempotency_key": "null",
}
_STATE = {"id": "made.state", "flow_run_id": "made.run"}
_ARTIFACT = {
    "id": "gen_random_uuid()",
    "flow_run_id": "made.run",
    "created": _OLDER,
    # A record names its run.
    "data": "replace(a.data::text, $1::uuid::text, made.run::text)::json",
}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    with running_stack(ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE) as running:
        yield running


async def _columns(database: asyncpg.Connection, table: str, alias: str, values: dict[str, str]) -> tuple[str, str]:
    rows = await database.fetch(
        "select column_name from information_schema.columns where table_name = $1 and is_generated = 'NEVER'", table
    )
    names = [row["column_name"] for row in rows]
    return ", ".join(f'"{name}"' for name in names), ", ".join(values.get(name, f'{alias}."{name}"') for name in names)


async def _grow(url: str, run_id: UUID) -> None:
    """Fill Prefect's database with copies of a run."""
    database = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        parts: dict[str, str] = {}
        for table, alias, values in (
            ("flow_run", "r", _RUN),
            ("flow_run_state", "s", _STATE),
            ("artifact", "a", _ARTIFACT),
        ):
            names, told = await _columns(database, table, alias, values)
            what = {"flow_run": "run", "flow_run_state": "state", "artifact": "artifact"}[table]
            parts |= {f"{what}_columns": names, f"{what}_values": told}
        await database.execute("set session_replication_role = replica")
        await database.fetchval(_COPY.format(**parts), run_id, RUNS)
        await database.execute(
            "update flow_run r set state_id = s.id from flow_run_state s "
            "where s.flow_run_id = r.id and r.state_id is null"
        )
        await database.execute("analyze")
    finally:
        await database.close()


async def _took_ms(ask: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await ask()
    return 1000 * (time.perf_counter() - began)


async def _measure(http: httpx.AsyncClient, prefect: PrefectClient, cursor: str) -> dict[str, Figures]:
    """Return what a page costs, by what is asked; no record of these runs is in Redis at first."""
    asked: dict[str, tuple[dict[str, Any], FlowRunFilter | None]] = {
        "first page": ({}, None),
        "by cursor": ({"cursor": cursor}, None),
        "by status": (
            {"status": "completed"},
            FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED]))),
        ),
        "by label": (
            {"label": "kind:old"},
            FlowRunFilter(tags=FlowRunFilterTags(all_=[label_tag("kind", "old")])),
        ),
    }
    pipeline = FlowFilter(name=FlowFilterName(any_=[DEPLOYMENT.partition("/")[0]]))
    figures: dict[str, Figures] = {}
    for what, (query, wanted) in asked.items():

        async def ours(query: dict[str, Any] = query) -> None:
            answer = await http.get("/tasks", params={"limit": PAGE, **query})
            assert len(answer.raise_for_status().json()["tasks"]) == PAGE

        async def theirs(wanted: FlowRunFilter | None = wanted) -> None:
            found = await prefect.read_flow_runs(
                flow_filter=pipeline,
                flow_run_filter=wanted,
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=PAGE,
            )
            assert len(found) == PAGE

        # The first of ours finds nothing in Redis and is told apart; then by turns, for the machine's load changes.
        first = await _took_ms(ours)
        pairs = [(await _took_ms(ours), await _took_ms(theirs)) for _ in range(ROUNDS)]
        figures[what] = Figures(first, statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs))
    return figures


async def test_a_page_costs_at_most_twice_prefects_own_call(
    stack: RunningStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = environment_of(stack.addresses)
    settings = settings_of(environment)
    connect(settings.r2).put_file(Path(__file__), "uploads/video/t.mp4", "video/mp4")
    connect(settings.r2).put_file(Path(__file__), "uploads/audio/a.wav", "audio/wav")
    store = JobStore(redis_url=settings.jobstore_redis_url, prefix=PREFIX, ttl_seconds=3600)
    body = {"target_key": "uploads/video/t.mp4", "audio_key": "uploads/audio/a.wav", "labels": {"kind": "old"}}
    async with PrefectClient(settings.prefect_api_url) as prefect:
        flow_name, _, name = DEPLOYMENT.partition("/")
        await prefect.create_deployment(
            flow_id=await prefect.create_flow_from_name(flow_name), name=name, enforce_parameter_schema=False
        )
        with shim_process(environment, tmp_path) as (url, _):
            async with httpx.AsyncClient(base_url=url, timeout=60) as http:
                flow = PlayedFlow(prefect, store)
                task_id = (await http.post("/run", json=body)).json()["task_id"]
                await flow.leave_record(await flow.complete(task_id))
                await flow.set_state(task_id, Completed())
                await _grow(stack.addresses.postgres_url.get_secret_value(), UUID(task_id))
                cursor = (await http.get("/tasks", params={"limit": 100})).json()["next_cursor"]
                figures = await _measure(http, prefect, cursor)
    await close_shared()
    with capsys.disabled():
        print(f"\nhistory of {RUNS} runs, medians of {ROUNDS}, pages of {PAGE}, one caller")  # noqa: T201  # the figures
        for what, found in figures.items():
            told = (
                f"ours {found.ours:6.1f} ms, Prefect's filter {found.theirs:6.1f} ms, {found.ours / found.theirs:.2f}x"
            )
            print(f"  {what:12} {told}; the very first {found.first:6.1f} ms")  # noqa: T201  # the same
    for what, found in figures.items():
        assert found.ours <= 2 * found.theirs, what
