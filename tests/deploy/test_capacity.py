"""The simulator against what can be computed by hand, and the command that shows it."""

import json

import pytest

from deployments.capacity.loads import HostLoad, Load, StageLoad
from deployments.capacity.simulation import simulate
from tests.deploy.commands import lipswap

WARM = {"cold_seconds": 0.0, "idle_seconds": 0.0}


def test_one_worker_serves_one_job_after_the_other() -> None:
    outcome = simulate(
        Load(jobs_per_day=10, around_seconds=0),
        [StageLoad(name="a", job_seconds=10, max_workers=1, **WARM)],
        arrivals=[0.0] * 10,
    )

    assert outcome.longest_seconds == 100
    assert outcome.jobs_per_hour == pytest.approx(360)
    assert outcome.stages[0].busy_seconds == outcome.stages[0].billed_seconds == 100
    assert outcome.stages[0].longest_queue == 9


def test_two_stages_overlap_and_the_slower_one_decides() -> None:
    stages = [
        StageLoad(name="fast", job_seconds=1, max_workers=1, **WARM),
        StageLoad(name="slow", job_seconds=5, max_workers=2, **WARM),
    ]

    outcome = simulate(Load(jobs_per_day=100, around_seconds=0), stages, arrivals=[0.0] * 100)

    # A hundred jobs of five seconds on two workers, and one second until the first of them comes.
    assert outcome.longest_seconds == pytest.approx(251, abs=2)
    assert outcome.stages[1].utilisation == pytest.approx(1.0)


def test_a_worker_that_must_start_and_one_that_idles_are_billed() -> None:
    stage = StageLoad(name="a", job_seconds=10, max_workers=3, cold_seconds=20, idle_seconds=30)

    outcome = simulate(Load(jobs_per_day=2, around_seconds=0), [stage], arrivals=[0.0, 1000.0])

    assert outcome.stages[0].cold_starts == 2
    assert outcome.stages[0].busy_seconds == 20
    assert outcome.stages[0].billed_seconds == pytest.approx(2 * (20 + 10 + 30))


def test_a_worker_that_stays_takes_the_next_job_at_once() -> None:
    stage = StageLoad(name="a", job_seconds=10, max_workers=3, min_workers=1, cold_seconds=20, idle_seconds=30)

    outcome = simulate(Load(jobs_per_day=2, around_seconds=0), [stage], arrivals=[0.0, 1000.0])

    assert outcome.longest_seconds == 10
    assert outcome.stages[0].cold_starts == 0


@pytest.mark.parametrize("peak", [1.0, 3.0, 24.0])
def test_every_job_of_a_day_is_done_and_the_same_seed_is_the_same_day(peak: float) -> None:
    load = Load(jobs_per_day=500, peak=peak)
    stages = [StageLoad(name="a", job_seconds=20, max_workers=4), StageLoad(name="b", job_seconds=50, max_workers=6)]

    outcome = simulate(load, stages)

    assert outcome == simulate(load, stages)
    assert outcome.jobs == 500
    assert [stage.busy_seconds for stage in outcome.stages] == [500 * 20, 500 * 50]
    assert all(stage.busy_seconds <= stage.billed_seconds for stage in outcome.stages)
    assert all(
        stage.most_workers <= declared.max_workers for stage, declared in zip(outcome.stages, stages, strict=True)
    )


def test_more_jobs_than_workers_can_do_wait_longer() -> None:
    stages = [StageLoad(name="a", job_seconds=60, max_workers=2)]

    easy, full = (simulate(Load(jobs_per_day=jobs), stages) for jobs in (500, 4000))

    assert easy.p95_seconds < 300 < full.p95_seconds


def test_runs_wait_for_a_cpu_process_when_those_are_few() -> None:
    stage = StageLoad(name="a", job_seconds=1, max_workers=10, **WARM)
    host = HostLoad(processes=2, before_seconds=(1,), after_seconds=(3, 6))

    outcome = simulate(Load(jobs_per_day=20, around_seconds=0), [stage], host=host, arrivals=[0.0] * 20)

    # Two hundred seconds of work on two processes, one more for the worker, which nothing else waits for.
    assert outcome.longest_seconds == pytest.approx(100, abs=3)
    assert outcome.host
    assert outcome.host.busy_seconds == 200
    assert outcome.host.utilisation == pytest.approx(1.0, abs=0.03)
    assert outcome.host.longest_queue == 18


def test_many_cpu_processes_are_as_none_at_all() -> None:
    load, stage = Load(jobs_per_day=50, around_seconds=0), StageLoad(name="a", job_seconds=5, max_workers=2, **WARM)
    host = HostLoad(processes=50, before_seconds=(2,), after_seconds=(4,))

    with_them = simulate(load, [stage], host=host, arrivals=[0.0] * 50)
    without = simulate(load, [stage], arrivals=[2.0] * 50)

    assert with_them.longest_seconds == without.longest_seconds + 6
    assert with_them.stages == without.stages


def test_the_command_tells_it_and_its_price() -> None:
    told = lipswap("plan", "--jobs-per-day", "100", "--seconds", "20", "--json")

    outcome = json.loads(told.stdout.splitlines()[-1])
    assert outcome["jobs"] == 100
    assert set(outcome["usd_per_day"]) == {"wav2lip", "facefusion"}
    billed = next(stage["billed_seconds"] for stage in outcome["stages"] if stage["name"] == "wav2lip")
    # An A4000 costs 0.00016 USD a second.
    assert outcome["usd_per_day"]["wav2lip"] == pytest.approx(billed * 0.00016)
