"""`lipswap`: the command line.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 the task was cancelled, 4 the API or the stack is not there,
5 the task goes on but the waiting has ended, 130 interrupted.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from api_shim.client import ApiUnreachableError, Client, NotEndedError
from blocks.settings import WorkerType
from deployments.console import Told
from deployments.demo import DemoReport, forget_results, run_demo
from deployments.inspecting import inspect
from deployments.local.addresses import StackAddresses, running_addresses
from deployments.local.errors import StackError
from deployments.local.foreground import stopped_by_signals
from deployments.local.layout import PREFERRED_PORTS, SIGNING_FOLDER
from deployments.local.services import ServiceName
from deployments.local.stack import EVERYTHING, Stack, StackSettings
from deployments.requests import Inputs, follow, parse_options, upload_all
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import Status, TaskRecord
from gpu_tasks.provenance.certificates import load_trust
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.verify import CredentialState
from gpu_tasks.provenance.verify import verify as check_credential

# What tells people and programs that a started stack stays.
KEPT = "Ctrl-C stops everything."
_SAMPLES = Path(__file__).parents[1] / "samples"
_DEFAULT_API = "http://127.0.0.1:8000"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Turns a voice, a video and a face into one lip-synced, face-swapped video.",
)


class Exit(IntEnum):
    """What a shell or a program learns from the exit code."""

    DONE = 0
    FAILED = 1
    CANCELLED = 3
    UNREACHABLE = 4
    NOT_ENDED = 5
    INTERRUPTED = 130


_EXITS = {Status.COMPLETED: Exit.DONE, Status.FAILED: Exit.FAILED, Status.CANCELLED: Exit.CANCELLED}

Data = Annotated[
    Path, typer.Option("--data", envvar="LIPSWAP_DATA", help="Where the local stack keeps everything it has.")
]
Runner = Annotated[
    WorkerType,
    typer.Option("--worker-type", envvar="LIPSWAP_WORKER_TYPE", help="Run flows in one process, or each in its own."),
]
Api = Annotated[
    str | None,
    typer.Option(
        "--api", envvar="FF_API_BASE_URL", help=f"Address of the API; else the local stack's, or {_DEFAULT_API}."
    ),
]
Secret = Annotated[
    str | None, typer.Option("--secret", envvar="FF_API_SECRET", help="The API's secret, where it has one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON on standard output.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for the end.")]
DEFAULT_DATA = Path(".lipswap")


@app.command()
def up(
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
    told = Told()
    settings = StackSettings(
        data_directory=data,
        parts=frozenset(part or EVERYTHING),
        worker_type=worker_type,
        preferred_ports={} if any_ports else PREFERRED_PORTS,
    )
    with _told_errors(told):
        asyncio.run(_up(settings, told))


@app.command()
def demo(
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
    told = Told()
    settings = StackSettings(data_directory=data, worker_type=worker_type)
    with _told_errors(told):
        report = asyncio.run(_demo(settings, output, told, fresh=fresh, keep=keep))
        if report is None:
            raise typer.Exit(Exit.INTERRUPTED)
        _finish(report.record, told, as_json=as_json)


@app.command()
def run(
    target: Annotated[str, typer.Option("--target", help="Target video: a file, or a key uploaded before.")],
    audio: Annotated[str | None, typer.Option("--audio", help="Driving audio; without it, face swap only.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Source face, may be given again.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="A field of the request, such as wav2lip.blending=50.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to save the result.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the task to its end.")] = True,
    timeout: Timeout = 3600.0,
    data: Data = DEFAULT_DATA,
    api: Api = None,
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """Upload what is a file, start a task and follow it to its end."""
    told = Told()
    with _told_errors(told, as_json=as_json), _client(data, api, secret) as client:
        if out and (out.is_dir() or not out.absolute().parent.is_dir()):
            raise FaultError(FaultCode.REQUEST_INVALID, f"--out {out}: name a file in a folder that is there.")
        inputs = Inputs(target=target, audio=audio, sources=tuple(source or ()))
        summary = client.run(upload_all(client, inputs, parse_options(option or ())))
        told.line(f"task {summary.task_id}")
        if not wait:
            _show(client.status(summary.task_id), told, as_json=as_json)
            return
        record = follow(client, summary.task_id, told, timeout=timeout)
        if record.result and out:
            client.download(record.result.output_key, out)
        _finish(record, told, as_json=as_json)


@app.command()
def status(
    task_id: str,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the task to its end.")] = False,
    timeout: Timeout = 3600.0,
    data: Data = DEFAULT_DATA,
    api: Api = None,
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """Show how a task stands."""
    told = Told()
    with _told_errors(told, as_json=as_json), _client(data, api, secret) as client:
        if wait:
            _finish(follow(client, task_id, told, timeout=timeout), told, as_json=as_json)
        else:
            _show(client.status(task_id), told, as_json=as_json)


@app.command()
def cancel(
    task_id: str,
    timeout: Timeout = 60.0,
    data: Data = DEFAULT_DATA,
    api: Api = None,
    secret: Secret = None,
    as_json: AsJson = False,
) -> None:
    """End a task and wait until it has ended; exits with 0 when it was cancelled."""
    told = Told()
    with _told_errors(told, as_json=as_json), _client(data, api, secret) as client:
        client.cancel(task_id)
        record = client.wait(task_id, timeout=timeout)
        _show(record, told, as_json=as_json)
        raise typer.Exit(Exit.DONE if record.status is Status.CANCELLED else Exit.FAILED)


@app.command()
def verify(file: Path, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Tell whether a file carries our signature and is unchanged; exits with 0 only then."""
    told = Told()
    with _told_errors(told):
        settings = SigningSettings()
        if "development" not in settings.model_fields_set:
            settings = settings.model_copy(update={"development": data / SIGNING_FOLDER})
        verdict = check_credential(file, load_trust(settings))
    told.verdict(verdict)
    if as_json:
        sys.stdout.write(verdict.model_dump_json() + "\n")
    raise typer.Exit(Exit.DONE if verdict.state is CredentialState.TRUSTED else Exit.FAILED)


app.command()(inspect)


def main() -> None:
    """Run the command line."""
    app()


async def _up(settings: StackSettings, told: Told) -> None:
    async with stopped_by_signals(), Stack(settings, told.stack_event) as stack:
        told.addresses(stack.addresses)
        told.line(KEPT)
        raise await stack.until_gave_up()


async def _demo(settings: StackSettings, output: Path, told: Told, *, fresh: bool, keep: bool) -> DemoReport | None:
    """Return what was seen, or None when a signal came before the run had ended."""
    report = None
    began = time.monotonic()
    async with stopped_by_signals(), Stack(settings, told.stack_event) as stack:
        told.line(f"The stack is up after {time.monotonic() - began:.1f} s.")
        if fresh:
            forgotten = await asyncio.to_thread(forget_results, stack.addresses)
            told.line(f"Forgot {forgotten} stored objects of earlier runs.")
        report = await asyncio.to_thread(run_demo, stack.addresses, _SAMPLES, output, told)
        told.line(f"The run took {report.run_seconds:.1f} s; jobs started on GPU workers: {report.gpu_jobs_started}.")
        for path in (report.result, output / "record.json", report.compare):
            if path:
                told.line(f"wrote {path}")
        told.addresses(stack.addresses)
        if keep:
            told.line(KEPT)
            raise await stack.until_gave_up()
    return report


@contextmanager
def _client(data: Path, api: str | None, secret: str | None) -> Iterator[Client]:
    local: StackAddresses | None = None if api else running_addresses(data)
    token = SecretStr(secret) if secret else local.api_secret if local else None
    with Client(api or (local.api_url if local else _DEFAULT_API), secret=token) as client:
        yield client


@contextmanager
def _told_errors(told: Told, *, as_json: bool = False) -> Iterator[None]:
    """Turn errors that a person can do something about into a sentence and an exit code, for programs into JSON."""
    try:
        yield
    except KeyboardInterrupt:
        told.line("Stopped.", style="yellow")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except NotEndedError as error:
        told.line(str(error), style="yellow")
        raise typer.Exit(Exit.NOT_ENDED) from None
    except (ApiUnreachableError, StackError) as error:
        told.line(str(error), style="red")
        raise typer.Exit(Exit.UNREACHABLE) from None
    except FaultError as error:
        told.line(str(error), style="red")
        if as_json:
            sys.stdout.write(error.fault.model_dump_json() + "\n")
        raise typer.Exit(Exit.FAILED) from None
    except OSError as error:
        told.line(f"{error.filename or 'A file'}: {error.strerror or error}.", style="red")
        raise typer.Exit(Exit.FAILED) from None


def _finish(record: TaskRecord, told: Told, *, as_json: bool) -> None:
    _show(record, told, as_json=as_json)
    raise typer.Exit(_EXITS[record.status])


def _show(record: TaskRecord, told: Told, *, as_json: bool) -> None:
    told.outcome(record)
    if as_json:
        sys.stdout.write(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n")
