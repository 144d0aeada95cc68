"""Maintenance: what is found in records, and every scheduled deployment run by a real worker."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType

from deployments.deploy import SCHEDULES
from deployments.fleet.planning import Action, Change, Difference, Plan
from deployments.fleet.resources import Kind
from deployments.maintenance.judging import cost_rows, keys_in_use, lowered_endpoints, stuck_runs
from flows.pools import INPROCESS_POOL
from gpu_tasks.contract.records import Cost, RecordStage, Status, TaskRecord
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import connect
from tests.runs.orchestra import deploy
from tests.waiting import await_until

MONDAY = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)


def record(cost: Cost, *, at: datetime = MONDAY, **labels: str) -> TaskRecord:
    return TaskRecord(
        task_id="a",
        status=Status.COMPLETED,
        stage=RecordStage.COMPLETED,
        created_at=at,
        updated_at=at,
        request={"target_key": "uploads/video/a.mp4", "labels": labels},
        cost=cost,
    )


def test_costs_are_told_by_day_and_label_and_unknown_prices_stay_unknown() -> None:
    rows = cost_rows(
        [
            record(Cost(gpu_seconds=10, usd=0.5), team="red"),
            record(Cost(gpu_seconds=20, usd=0.25), team="red"),
            record(Cost(gpu_seconds=5, usd=None), team="blue"),
            record(Cost(gpu_seconds=1, usd=0.1), at=MONDAY + timedelta(hours=1)),
        ]
    )

    assert [(str(row.day), row.label, row.runs, row.gpu_seconds, row.usd) for row in rows] == [
        ("2026-11-24", "-", 1, 1, 0.1),
        ("2026-11-23", "team=red", 2, 30, 0.75),
        ("2026-11-23", "team=blue", 1, 5, None),
    ]


def test_only_clients_keys_are_in_use_and_texts_are_no_keys() -> None:
    assert keys_in_use([record(Cost(), note="work/x")]) == {"uploads/video/a.mp4"}


def test_a_run_is_stuck_when_it_has_been_in_one_state_for_too_long() -> None:
    seen = [("young", "Running", MONDAY - timedelta(hours=1)), ("old", "Pending", MONDAY - timedelta(hours=9))]

    assert [(run.task_id, run.hours) for run in stuck_runs(seen, now=MONDAY, hours=6)] == [("old", 9)]


@pytest.mark.parametrize(("found", "lowered"), [("2", ("lipswap-a",)), ("0", ("lipswap-a",)), ("4", ()), ("9", ())])
def test_an_endpoint_that_runpod_lowered_is_told_from_one_that_somebody_edited(
    found: str, lowered: tuple[str, ...]
) -> None:
    difference = Difference(field="workers_max", found=found, wanted="5")
    change = Change(action=Action.UPDATE, kind=Kind.ENDPOINT, name="lipswap-a", differences=(difference,))

    assert lowered_endpoints(Plan(prefix="lipswap", changes=(change,))) == lowered


@pytest.fixture
async def prefect(production: dict[str, str]) -> AsyncIterator[PrefectClient]:
    login = production["PREFECT_API_AUTH_STRING"]
    async with PrefectClient(production["PREFECT_API_URL"], auth_string=login) as client:
        yield client


async def ended(prefect: PrefectClient, name: str, **parameters: object) -> FlowRun:
    """Run a deployment as its schedule does, with other parameters, until its end."""
    deployment = await prefect.read_deployment_by_name(name)
    run = await prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    async def final() -> FlowRun | None:
        seen = await prefect.read_flow_run(run.id)
        return seen if seen.state and seen.state.is_final() else None

    return await await_until(final, seconds=120, what=f"{name} has ended")


@pytest.mark.parametrize(
    "name", ["retention/lipswap", "stuck-runs/lipswap", "endpoint-health/lipswap", "cost-report/lipswap"]
)
async def test_a_maintenance_run_goes_through(prefect: PrefectClient, name: str) -> None:
    run = await ended(prefect, name)

    assert run.state_type is StateType.COMPLETED, run.state


async def test_orphans_are_told_and_removed_only_when_asked(prefect: PrefectClient, production: dict[str, str]) -> None:
    r2 = {name.removeprefix("R2_").lower(): value for name, value in production.items() if name.startswith("R2_")}
    store = connect(R2Settings.model_validate(r2))
    store.put_json("outputs/forgotten.json", record(Cost()), if_absent=True)

    assert (await ended(prefect, "orphan-objects/lipswap", min_days=0)).state_type is StateType.COMPLETED
    assert store.head("outputs/forgotten.json") is not None
    assert (await ended(prefect, "orphan-objects/lipswap", min_days=0, delete=True)).state_type is StateType.COMPLETED
    assert store.head("outputs/forgotten.json") is None


async def test_schedules_and_limits_are_there_once_however_often_it_is_deployed(
    prefect: PrefectClient, production: dict[str, str]
) -> None:
    deploy(production, LIPSWAP_POOL_RUNS="300")
    assert (await prefect.read_work_pool(INPROCESS_POOL)).concurrency_limit == 300
    deploy(production)
    assert (await prefect.read_work_pool(INPROCESS_POOL)).concurrency_limit is None

    for name, cron in SCHEDULES.items():
        deployment = await prefect.read_deployment_by_name(name)
        assert [schedule.schedule.cron for schedule in deployment.schedules] == [cron]  # type: ignore[union-attr]  # ours are crons
