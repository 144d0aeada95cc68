"""`lipswap audit`: is the record of what was asked and signed still whole?"""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from blocks.audit import AuditLog
from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.command.reaching import bucket_of
from deployments.wording.messages import Message
from gpu_tasks.contract.audit import Tip
from gpu_tasks.storage import connect


def audit(
    context: typer.Context,
    known: Annotated[
        str | None,
        typer.Option("--known", help="An earlier tip (from --json), kept elsewhere: shows what was cut or rewritten."),
    ] = None,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Walk along the audit chain and say what is wrong with it; exits with 0 when it is whole."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        report = AuditLog(connect(bucket_of(data))).verify_chain(known=_tip(known))
    told.say(Message.AUDIT_ENTRIES, entries=report.entries, erased=report.erased_consents)
    for found in report.breaks:
        told.line(f"{found.kind}: {found.key}. {found.sentence}", style="red")
    if report.is_whole:
        told.say(Message.AUDIT_WHOLE, style="green")
    if as_json:
        sys.stdout.write(report.model_dump_json() + "\n")
    raise typer.Exit(Exit.DONE if report.is_whole else Exit.FAILED)


def _tip(known: str | None) -> Tip | None:
    try:
        return Tip.model_validate_json(known) if known else None
    except ValidationError:
        raise typer.BadParameter("It is the `tip` that --json prints.") from None
