"""`lipswap plan`: how many workers a day's jobs need, how long they take, and what that costs."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Final

import typer

from deployments.capacity.loads import HostLoad, Load, Outcome, StageLoad, StageOutcome
from deployments.capacity.simulation import simulate
from deployments.command.exits import told_errors, told_in
from deployments.command.options import AsJson, File
from deployments.console import Told
from deployments.fleet.declaration import DEFAULT_FILE, Declaration, read_declaration
from deployments.fleet.gpus import PRICED_AS
from deployments.wording.messages import Message
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.prices import price_table

# GPU seconds per second of video. Nobody has measured them on a GPU for this product: yours are in `lipswap ledger`.
_ASSUMED_LIP_SYNC: Final = 1.0
_ASSUMED_FACE_SWAP: Final = 2.5
# The part of a run's CPU seconds that comes before its GPU stages (tests/benchmarks/test_capacity.py).
_BEFORE: Final = 0.2


def plan(
    context: typer.Context,
    jobs_per_day: Annotated[int, typer.Option("--jobs-per-day", min=1, help="Requests of a day.")],
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="Length of a clip.")],
    lip_sync: Annotated[
        float, typer.Option("--lip-sync", min=0, help="GPU seconds per second of video; 0: requests have none.")
    ] = _ASSUMED_LIP_SYNC,
    face_swap: Annotated[
        float, typer.Option("--face-swap", min=0, help="The same for the face swap.")
    ] = _ASSUMED_FACE_SWAP,
    cold_seconds: Annotated[float, typer.Option("--cold", min=0, help="Seconds until a new worker begins.")] = 20.0,
    around_seconds: Annotated[
        float, typer.Option("--around", min=0, help="Seconds of a request outside of workers and CPU processes.")
    ] = 2.0,
    cpu: Annotated[
        float, typer.Option("--cpu", min=0, help="Seconds of a CPU process per second of video, ingest to signing.")
    ] = 1.0,
    cpu_processes: Annotated[
        int, typer.Option("--cpu-processes", min=1, help="CPU processes of all orchestrators together.")
    ] = 4,
    peak: Annotated[float, typer.Option("--peak", min=1, help="Busiest hour, in means of the day.")] = 3.0,
    file: File = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Simulate a day on the declared endpoints: waits, workers, GPU seconds and cost."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        declaration = read_declaration(file)
        speeds = {Stage.WAV2LIP: lip_sync, Stage.FACEFUSION: face_swap}
        stages = [
            _stage(declaration, stage, speed * seconds, cold_seconds) for stage, speed in speeds.items() if speed > 0
        ]
        if not stages:
            raise typer.BadParameter(told.text(Message.PLAN_WITHOUT_STAGES))
        load = Load(jobs_per_day=jobs_per_day, around_seconds=around_seconds, peak=peak)
        host = HostLoad(
            processes=cpu_processes,
            before_seconds=(cpu * seconds * _BEFORE,),
            after_seconds=(cpu * seconds * (1 - _BEFORE),),
        )
        outcome = simulate(load, stages, host=host)
        prices = {stage: _price(declaration, Stage(stage.name)) for stage in stages}
        cost = {stage.name: price * _outcome_of(outcome, stage).billed_seconds for stage, price in prices.items()}
        if as_json:
            sys.stdout.write(json.dumps(outcome.model_dump() | {"usd_per_day": cost}) + "\n")
            return
        _show(outcome, cost, told)


def _stage(declaration: Declaration, stage: Stage, job_seconds: float, cold_seconds: float) -> StageLoad:
    said = declaration.of(stage)
    return StageLoad(
        name=stage,
        job_seconds=job_seconds,
        max_workers=said.workers.max,
        min_workers=said.workers.min,
        cold_seconds=cold_seconds,
        idle_seconds=said.idle_seconds,
    )


def _price(declaration: Declaration, stage: Stage) -> float:
    """Return US dollars per second of the first GPU type, which RunPod rents first."""
    first = declaration.of(stage).gpu_types[0]
    return price_table().price_of(PRICED_AS.get(first, first))


def _outcome_of(outcome: Outcome, stage: StageLoad) -> StageOutcome:
    return next(one for one in outcome.stages if one.name == stage.name)


def _show(outcome: Outcome, cost: Mapping[str, float], told: Told) -> None:
    headings = tuple(told.text(Message.PLAN_HEADINGS).split("|"))
    rows = [
        (
            one.name,
            str(one.most_workers),
            str(one.longest_queue),
            str(one.cold_starts),
            f"{one.busy_seconds:.0f}",
            f"{one.billed_seconds:.0f}",
            f"{one.utilisation:.0%}",
            f"{cost[one.name]:.2f}",
        )
        for one in outcome.stages
    ]
    told.rows(headings, rows)
    if outcome.host:
        told.say(
            Message.PLAN_HOST,
            processes=outcome.host.processes,
            used=outcome.host.utilisation,
            waiting=outcome.host.longest_queue,
        )
    told.say(
        Message.PLAN_SUM,
        jobs=outcome.jobs,
        hourly=outcome.jobs_per_hour,
        median=outcome.median_seconds,
        p95=outcome.p95_seconds,
        longest=outcome.longest_seconds,
        usd=sum(cost.values()),
    )
