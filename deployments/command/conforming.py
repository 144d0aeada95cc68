"""`lipswap conformance`: where the real service and the control plane of the local stack differ."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import AsJson
from deployments.conformance import run_suite
from deployments.wording.messages import Message


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = Field(validation_alias="RUNPOD_API_KEY")
    api_base: str = Field(default="https://api.runpod.ai/v2", validation_alias="RUNPOD_API_BASE")


def conformance(
    context: typer.Context,
    endpoint: Annotated[
        list[str], typer.Option("--endpoint", help="NAME=ID of an endpoint that runs a worker of the suite.")
    ],
    as_json: AsJson = False,
) -> None:
    """Run the control plane's contract suite against a real account; costs GPU seconds. 0 when nothing differs."""
    told = told_in(context)
    with told_errors(told, as_json=as_json), tempfile.TemporaryDirectory() as folder:
        settings = settings_of(_Settings)
        named = dict(part.split("=", 1) for part in endpoint if "=" in part)
        url = settings.api_base.rstrip("/").removesuffix("/v2")
        verdicts = run_suite(url, settings.api_key.get_secret_value(), named, Path(folder))
        if as_json:
            sys.stdout.write(json.dumps([verdict.model_dump() for verdict in verdicts]) + "\n")
        else:
            told.rows(
                tuple(told.text(Message.CONFORMANCE_HEADINGS).split("|")),
                [(verdict.line, verdict.outcome, verdict.detail) for verdict in verdicts],
            )
        differing = sum(verdict.outcome == "differs" for verdict in verdicts)
        asked = sum(verdict.outcome != "not asked" for verdict in verdicts)
        told.say(Message.CONFORMANCE_SUM, count=asked, differing=differing)
        if differing:
            raise typer.Exit(Exit.FAILED)
