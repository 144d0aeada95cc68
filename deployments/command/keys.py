"""`lipswap keys`: who may use the API, for what, and how much."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from api_shim.api_keys import DEFAULT_SCOPES, ApiKey, KeyRing, LastUse, Scope
from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.command.reaching import bucket_of
from deployments.wording.messages import Message
from gpu_tasks.storage import connect

keys = typer.Typer(
    add_completion=False, no_args_is_help=True, help="API keys: who may use the API, for what, and how much."
)


@keys.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose key it is, in words.")],
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help="What it is for; may be given again.")] = None,
    requests: Annotated[
        int | None, typer.Option("--requests-per-minute", min=1, help="Else what the service allows.")
    ] = None,
    tasks: Annotated[
        int | None, typer.Option("--max-tasks", min=1, max=150, help="Tasks at once, else what the service allows.")
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        made = _ring(data).create(
            name, scopes=tuple(scope or DEFAULT_SCOPES), requests_per_minute=requests, max_tasks=tasks
        )
    text = made.text.get_secret_value()
    told.say(Message.KEY_CREATED, id=made.key.id, name=name, style="green")
    sys.stdout.write((json.dumps({**_shown(made.key, None), "key": text}) if as_json else text) + "\n")


@keys.command("list")
def list_keys(context: typer.Context, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Show every key with its scopes and its last use, never its text."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        found = _ring(data).list()
    if as_json:
        sys.stdout.write(json.dumps([_shown(key, used) for key, used in found]) + "\n")
        return
    headings = tuple(told.text(Message.KEY_HEADINGS).split("|"))
    told.rows(headings, [_cells(key, used) for key, used in found])


@keys.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `lipswap keys list`.")],
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """End a key for good; running services know it after a minute."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        revoked = _ring(data).revoke(key_id)
    if revoked is None:
        told.say(Message.KEY_UNKNOWN, id=key_id, style="red")
        raise typer.Exit(Exit.FAILED)
    told.say(Message.KEY_REVOKED, id=revoked.id, name=revoked.name)
    if as_json:
        sys.stdout.write(json.dumps(_shown(revoked, None)) + "\n")


def _ring(data: Path) -> KeyRing:
    return KeyRing(connect(bucket_of(data)))


def _shown(key: ApiKey, used: LastUse | None) -> dict[str, object]:
    last = used.model_dump(mode="json")["used_at"] if used else None
    return {**key.model_dump(mode="json", exclude={"secret_sha256"}), "used_at": last}


def _cells(key: ApiKey, used: LastUse | None) -> tuple[str, ...]:
    day = "{:%Y-%m-%d %H:%M}".format
    return (
        key.id,
        key.name,
        " ".join(key.scopes),
        str(key.requests_per_minute or ""),
        str(key.max_tasks or ""),
        day(key.created_at),
        day(used.used_at) if used else "",
        day(key.revoked_at) if key.revoked_at else "",
    )
