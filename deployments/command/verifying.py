"""`lipswap verify`: is this file ours, and unchanged?"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data
from deployments.console import Told
from deployments.local.layout import SIGNING_FOLDER
from deployments.wording.messages import Message
from gpu_tasks.provenance.certificates import load_trust
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.verify import CredentialState, Verdict
from gpu_tasks.provenance.verify import verify as check_credential

STATES: Final[Mapping[CredentialState, Message]] = {
    state: Message[f"CREDENTIAL_{state.name}"] for state in CredentialState
}


def verify(context: typer.Context, file: Path, data: Data = DEFAULT_DATA, as_json: AsJson = False) -> None:
    """Tell whether a file carries our signature and is unchanged; exits with 0 only then."""
    told = told_in(context)
    with told_errors(told):
        verdict = check_credential(file, load_trust(signing_settings(data)))
    _show(verdict, told)
    if as_json:
        sys.stdout.write(verdict.model_dump_json() + "\n")
    raise typer.Exit(Exit.DONE if verdict.state is CredentialState.TRUSTED else Exit.FAILED)


def signing_settings(data: Path) -> SigningSettings:
    """Return whose signatures count: as the environment says, else the development chain in the data folder.

    Raises:
        SettingsUnusableError: A value of the environment does not fit.
    """
    settings = settings_of(SigningSettings)
    if "development" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"development": data / SIGNING_FOLDER})


def _show(verdict: Verdict, told: Told) -> None:
    told.say(STATES[verdict.state], style="green" if verdict.state is CredentialState.TRUSTED else "red")
    for reason in verdict.reasons:
        told.line(reason)
    if verdict.signer:
        told.say(Message.SIGNED_BY, name=verdict.signer.name, organisation=verdict.signer.organisation)
    if verdict.claims:
        stages = ", ".join(
            told.text(Message.CLAIMED_STAGE, stage=stage.stage, engine=stage.engine) for stage in verdict.claims.stages
        )
        told.say(Message.CLAIMS, task_id=verdict.claims.task_id, stages=stages)
