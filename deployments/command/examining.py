"""`lipswap doctor`: what is missing on this machine, and the fix."""

import json
import sys
from collections.abc import Mapping
from typing import Final

import typer

from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.console import Told
from deployments.doctor.examination import examine
from deployments.doctor.findings import Check, Finding, State
from deployments.wording.messages import Message

CHECKS: Final[Mapping[Check, Message]] = {check: Message[f"CHECK_{check.name}"] for check in Check}
STATES: Final[Mapping[State, Message]] = {state: Message[f"STATE_{state.name}"] for state in State}
_COLOURS: Final = {State.OK: "green", State.NOTICE: "yellow", State.PROBLEM: "red"}


def doctor(context: typer.Context, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Tell what is missing on this machine and how to put it right; exits with 0 when nothing is."""
    told = told_in(context)
    findings = []
    with told_errors(told, as_json=as_json):
        for finding in examine(data):
            findings.append(finding)
            _show(finding, told)
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    if problems:
        told.say(Message.NOT_WELL, count=problems, checks=len(findings), style="red")
    else:
        told.say(Message.ALL_WELL, style="green")
    if as_json:
        answer = {"well": not problems, "findings": [_as_json(finding, told) for finding in findings]}
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    raise typer.Exit(Exit.FAILED if problems else Exit.DONE)


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
