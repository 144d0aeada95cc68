"""`lipswap run`, `status` and `cancel`: a task of the API from its start to its end."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from deployments.command.asking import Session, asks_api
from deployments.command.exits import Exit
from deployments.command.options import Timeout
from deployments.console import Told
from deployments.requests import Inputs, follow, parse_options, upload_all
from deployments.wording.messages import Message
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import Status, TaskRecord

_EXITS: Final[Mapping[Status, Exit]] = {
    Status.COMPLETED: Exit.DONE,
    Status.FAILED: Exit.FAILED,
    Status.CANCELLED: Exit.CANCELLED,
}


@asks_api
def run(
    session: Session,
    target: Annotated[str, typer.Option("--target", help="Target video: a file, or a key uploaded before.")],
    audio: Annotated[str | None, typer.Option("--audio", help="Driving audio; without it, face swap only.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Source face, may be given again.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="A field of the request, such as wav2lip.blending=50.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to save the result.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the task to its end.")] = True,
    timeout: Timeout = 3600.0,
) -> None:
    """Upload what is a file, start a task and follow it to its end."""
    client, told = session.client, session.told
    if out and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise FaultError(FaultCode.REQUEST_INVALID, f"--out {out}: name a file in a folder that is there.")
    inputs = Inputs(target=target, audio=audio, sources=tuple(source or ()))
    summary = client.run(upload_all(client, inputs, parse_options(option or ())))
    told.say(Message.TASK, task_id=summary.task_id)
    if not wait:
        show(client.status(summary.task_id), told, as_json=session.as_json)
        return
    record = follow(client, summary.task_id, told, timeout=timeout)
    if record.result and out:
        client.download(record.result.output_key, out)
    finish(record, told, as_json=session.as_json)


@asks_api
def status(
    session: Session,
    task_id: str,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the task to its end.")] = False,
    timeout: Timeout = 3600.0,
) -> None:
    """Show how a task stands."""
    if wait:
        record = follow(session.client, task_id, session.told, timeout=timeout)
        finish(record, session.told, as_json=session.as_json)
    else:
        show(session.client.status(task_id), session.told, as_json=session.as_json)


@asks_api
def cancel(session: Session, task_id: str, timeout: Timeout = 60.0) -> None:
    """End a task and wait until it has ended; exits with 0 when it was cancelled."""
    session.client.cancel(task_id)
    record = session.client.wait(task_id, timeout=timeout)
    show(record, session.told, as_json=session.as_json)
    raise typer.Exit(Exit.DONE if record.status is Status.CANCELLED else Exit.FAILED)


def finish(record: TaskRecord, told: Told, *, as_json: bool) -> None:
    """Show how a task ended, and end with the exit code that says it."""
    show(record, told, as_json=as_json)
    raise typer.Exit(_EXITS[record.status])


def show(record: TaskRecord, told: Told, *, as_json: bool) -> None:
    """Show how a task stands: to a person, and as JSON to a program."""
    told.outcome(record)
    if as_json:
        sys.stdout.write(json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n")
