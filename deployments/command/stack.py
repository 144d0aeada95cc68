"""`lipswap up` and `demo`: the local stack."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from blocks.settings import WorkerType
from deployments.command.asking import api_errors
from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.command.tasks import finish
from deployments.console import Told
from deployments.demo import DemoReport, forget_results, run_demo
from deployments.local.foreground import stopped_by_signals
from deployments.local.layout import PREFERRED_PORTS
from deployments.local.services import ServiceName
from deployments.local.stack import EVERYTHING, Stack, StackSettings
from deployments.local.wishes import wishes_in
from deployments.wording.messages import Message

_SAMPLES: Final = Path(__file__).parents[2] / "samples"

Runner = Annotated[
    WorkerType,
    typer.Option("--worker-type", envvar="LIPSWAP_WORKER_TYPE", help="Run flows in one process, or each in its own."),
]


def up(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    worker_type: Runner = WorkerType.INPROCESS,
    part: Annotated[
        list[ServiceName] | None,
        typer.Option("--part", help="Only this service and what it stands on; may be given again."),
    ] = None,
    any_ports: Annotated[
        bool, typer.Option("--any-ports", help="Prefer no port numbers: 8000 and 4200 stay free.")
    ] = False,
) -> None:
    """Start the whole local stack and keep it running until Ctrl-C."""
    told = told_in(context)
    settings = StackSettings(
        data_directory=data,
        parts=frozenset(part or EVERYTHING),
        worker_type=worker_type,
        preferred_ports={} if any_ports else PREFERRED_PORTS,
        protect_prefect=True,
        wishes=wishes_in(os.environ),
    )
    with told_errors(told):
        asyncio.run(_up(settings, told))


def demo(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    worker_type: Runner = WorkerType.INPROCESS,
    output: Annotated[
        Path, typer.Option("--output", help="Folder for result.mp4, record.json and compare.png.")
    ] = Path("demo"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget earlier results first, so that all is computed.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the stack, run the bundled sample through it by HTTP, keep the result, and stop."""
    told = told_in(context)
    settings = StackSettings(
        data_directory=data, worker_type=worker_type, protect_prefect=True, wishes=wishes_in(os.environ)
    )
    with told_errors(told), api_errors(told):
        report = asyncio.run(_demo(settings, output, told, fresh=fresh, keep=keep))
        if report is None:
            raise typer.Exit(Exit.INTERRUPTED)
        finish(report.record, told, as_json=as_json)


async def _up(settings: StackSettings, told: Told) -> None:
    async with stopped_by_signals(), Stack(settings, told.stack_event) as stack:
        told.addresses(stack.addresses)
        told.say(Message.KEPT)
        raise await stack.until_gave_up()


async def _demo(settings: StackSettings, output: Path, told: Told, *, fresh: bool, keep: bool) -> DemoReport | None:
    """Return what was seen, or None when a signal came before the run had ended."""
    report = None
    began = time.monotonic()
    async with stopped_by_signals(), Stack(settings, told.stack_event) as stack:
        told.say(Message.STACK_IS_UP, seconds=time.monotonic() - began)
        if fresh:
            forgotten = await asyncio.to_thread(forget_results, stack.addresses)
            told.say(Message.FORGOT, count=forgotten)
        report = await asyncio.to_thread(run_demo, stack.addresses, _SAMPLES, output, told)
        told.say(Message.RUN_TOOK, seconds=report.run_seconds, jobs=report.gpu_jobs_started)
        for path in (report.result, output / "record.json", report.compare):
            if path:
                told.say(Message.WROTE, path=path)
        if keep:
            told.addresses(stack.addresses)
            told.say(Message.KEPT)
            raise await stack.until_gave_up()
    return report
