"""`lipswap doctor`: what is missing on this machine, and the fix."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data, File
from deployments.console import Told
from deployments.doctor.examination import examine
from deployments.doctor.findings import AnyCheck, Check, Finding, ProductionCheck, State
from deployments.fleet.declaration import DEFAULT_FILE, read_declaration
from deployments.wording.messages import Message

CHECKS: Final[Mapping[AnyCheck, Message]] = {
    check: Message[f"CHECK_{check.name}"] for check in (*Check, *ProductionCheck)
}
STATES: Final[Mapping[State, Message]] = {state: Message[f"STATE_{state.name}"] for state in State}
_COLOURS: Final = {State.OK: "green", State.NOTICE: "yellow", State.PROBLEM: "red"}


def doctor(
    context: typer.Context,
    data: Data = DEFAULT_DATA,
    production: Annotated[
        bool,
        typer.Option("--production", help="Look at what this environment's variables name instead: every service."),
    ] = False,
    file: File = DEFAULT_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell what is missing on this machine and how to put it right; exits with 0 when nothing is."""
    told = told_in(context)
    findings = []
    with told_errors(told, as_json=as_json):
        for finding in _production(file) if production else examine(data):
            findings.append(finding)
            _show(finding, told)
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    if problems:
        told.say(Message.NOT_WELL, count=problems, checks=len(findings), style="red")
    else:
        told.say(Message.PRODUCTION_WELL if production else Message.ALL_WELL, style="green")
    if as_json:
        answer = {"well": not problems, "findings": [_as_json(finding, told) for finding in findings]}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    raise typer.Exit(Exit.FAILED if problems else Exit.DONE)


def _production(file: Path) -> Iterator[Finding]:
    # It asks Prefect and Redis, whose packages a laptop's check does not need.
    from deployments.doctor.production import examine_production  # noqa: PLC0415

    yield from examine_production(os.environ, read_declaration(file))


def _show(finding: Finding, told: Told) -> None:
    state = told.text(STATES[finding.state])
    name = told.text(CHECKS[finding.check])
    told.line(f"{state:>8}  {name}: {told.text(finding.found, **finding.values)}", style=_COLOURS[finding.state])
    if finding.fix is not None:
        told.line(f"{'':>8}  {told.text(Message.FIX, fix=told.text(finding.fix, **finding.values))}")


def _as_json(finding: Finding, told: Told) -> dict[str, object]:
    return {
        "check": finding.check,
        "state": finding.state,
        "found": told.text(finding.found, **finding.values),
        "fix": told.text(finding.fix, **finding.values) if finding.fix else None,
        "values": finding.values,
    }
