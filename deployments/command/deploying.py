"""`lipswap deploy`: a RunPod account and a Prefect server brought to what the declaration says."""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import httpx
import typer

from blocks.prefect_refusal import reason_of
from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import AsJson, File
from deployments.console import Told
from deployments.fleet import applying, planning
from deployments.fleet.account import Account
from deployments.fleet.declaration import DEFAULT_FILE, Declaration, read_declaration
from deployments.fleet.errors import PrefectError
from deployments.fleet.gpus import PRICED_AS
from deployments.fleet.images import ImageRegistry
from deployments.fleet.planning import Action, Change, Plan
from deployments.fleet.preflight import check_images, check_quota
from deployments.fleet.resources import Found, Kind, Resource
from deployments.fleet.settings import AccountSettings
from deployments.fleet.wanted import full_name, wanted
from deployments.wording.messages import Message
from gpu_tasks.contract.prices import price_table

deploy = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Bring a RunPod account and a Prefect server to what one file declares.",
)

ImageCheck = Annotated[
    bool, typer.Option("--image-check/--no-image-check", help="Ask the registry whether the images exist.")
]

ACTIONS: Final = {action: Message[f"ACTION_{action.name}"] for action in Action}
_COLOURS: Final = {Action.CREATE: "green", Action.UPDATE: "yellow", Action.DELETE: "red"}


class _Situation(NamedTuple):
    account: Account
    declaration: Declaration
    wanted: tuple[Resource, ...]
    found: tuple[Found, ...]
    plan: Plan


@deploy.command("plan")
def plan_(
    context: typer.Context, file: File = DEFAULT_FILE, image_check: ImageCheck = True, as_json: AsJson = False
) -> None:
    """Tell what `apply` would do, and whether it could; changes nothing."""
    told = told_in(context)
    with told_errors(told, as_json=as_json), _situation(file) as now:
        _show(now.plan, now.declaration, told, as_json=as_json)
        _check(now, image_check=image_check)


@deploy.command()
def diff(context: typer.Context, file: File = DEFAULT_FILE, as_json: AsJson = False) -> None:
    """Tell how the account has drifted from the file; exits with 0 only when it has not."""
    told = told_in(context)
    with told_errors(told, as_json=as_json), _situation(file) as now:
        _show(now.plan, now.declaration, told, as_json=as_json)
        if not now.plan.is_empty:
            raise typer.Exit(Exit.FAILED)


@deploy.command()
def apply(
    context: typer.Context,
    file: File = DEFAULT_FILE,
    image_check: ImageCheck = True,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is ours and declared nowhere; no volumes.")
    ] = False,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", help="Write the endpoints' ids there as well, as variables.")
    ] = None,
) -> None:
    """Bring the account to what the file declares; broken off, it does the rest when it is run again."""
    told = told_in(context)
    with told_errors(told), _situation(file) as now:
        _check(now, image_check=image_check)
        applying.apply(now.account, now.plan, now.wanted, lambda done: _tell(done, told), prune=prune)
        if not now.plan.changes and not (prune and now.plan.strays):
            told.say(Message.PLAN_EMPTY, prefix=now.declaration.prefix, style="green")
        told.say(Message.ENDPOINT_IDS)
        lines = "".join(f"{line}\n" for line in _variables(now.declaration, now.account.found()))
        sys.stdout.write(lines)
        if env_file is not None:
            env_file.write_text(lines, encoding="utf-8")


@deploy.command()
def destroy(
    context: typer.Context,
    file: File = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only tell.")] = False,
    volumes: Annotated[bool, typer.Option("--volumes", help="Remove volumes too, with all that is on them.")] = False,
) -> None:
    """Remove everything under the declaration's prefix, endpoints first; volumes only when asked."""
    told = told_in(context)
    with told_errors(told), Account(**_address()) as account:
        declaration = read_declaration(file)
        there = planning.ours(account.found(), declaration.prefix).values()
        steps = planning.removal(one for one in there if volumes or one.kind is not Kind.VOLUME)
        if not yes:
            for step in steps:
                _tell(step, told)
            told.say(Message.DESTROY_NEEDS_YES, count=len(steps))
            raise typer.Exit(Exit.FAILED if steps else Exit.DONE)
        applying.remove(account, steps, lambda done: _tell(done, told))
        told.say(Message.DESTROYED, count=len(steps), style="green")


@deploy.command()
def prefect(context: typer.Context) -> None:
    """Bring blocks, work pool, limits, schedules and deployments of a Prefect server to the environment."""
    # Prefect takes seconds to import, and plan needs none of it.
    from blocks.settings import OrchestratorSettings  # noqa: PLC0415
    from deployments.deploy import deploy as deploy_to_prefect  # noqa: PLC0415
    from deployments.deploy import parameters_in  # noqa: PLC0415
    from gpu_tasks.provenance.settings import SigningSettings  # noqa: PLC0415

    told = told_in(context)
    with told_errors(told):
        settings, signing = settings_of(OrchestratorSettings), settings_of(SigningSettings)
        try:
            asyncio.run(deploy_to_prefect(settings, signing, parameters_in(os.environ)))
        except httpx.HTTPError as error:
            raise PrefectError(f"The Prefect server that PREFECT_API_URL names: {reason_of(error)}") from error
        told.say(Message.PREFECT_DEPLOYED, style="green")


@contextmanager
def _situation(file: Path) -> Iterator[_Situation]:
    declaration = read_declaration(file)
    said = wanted(declaration, os.environ)
    with Account(**_address()) as account:
        resources = account.dialect.as_told(said)
        found = account.found()
        yield _Situation(account, declaration, resources, found, planning.plan(resources, found, declaration.prefix))


def _address() -> dict[str, Any]:
    settings = settings_of(AccountSettings)
    return {"api_key": settings.api_key, "base_url": settings.rest_base}


def _check(now: _Situation, *, image_check: bool) -> None:
    check_quota(now.declaration, now.wanted, now.found)
    if image_check:
        check_images(now.wanted, ImageRegistry())


def _show(plan: Plan, declaration: Declaration, told: Told, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(plan.model_dump_json() + "\n")
        return
    for change in plan.changes:
        _tell(change, told)
    for stray in plan.strays:
        told.say(Message.PLAN_STRAY, kind=stray.kind, name=stray.name, id=stray.id, style="yellow")
    if plan.is_empty:
        told.say(Message.PLAN_EMPTY, prefix=declaration.prefix, style="green")


def _tell(change: Change, told: Told) -> None:
    told.line(f"{told.text(ACTIONS[change.action])} {change.kind} {change.name}", style=_COLOURS[change.action])
    for one in change.differences:
        told.line(f"    {one.field}: {one.found} -> {one.wanted}")


def _variables(declaration: Declaration, found: Sequence[Found]) -> Iterator[str]:
    """Yield what the API and the orchestrator are given, one assignment a line."""
    ids = {one.resource.name: one.id for one in found if one.kind is Kind.ENDPOINT}
    for name, said in declaration.endpoints.items():
        variable = f"RUNPOD_{said.stage.upper()}_ENDPOINT"
        if (there := ids.get(full_name(declaration, name))) is not None:
            yield f"{variable}={there}"
            # The dearest of its GPU types: a budget is never overdrawn by a type that was rented instead.
            if priced := [PRICED_AS[gpu] for gpu in said.gpu_types if gpu in PRICED_AS]:
                yield f"RUNPOD_{said.stage.upper()}_GPU={max(priced, key=price_table().price_of)}"
        if said.canary is not None and (second := ids.get(full_name(declaration, name, canary=True))) is not None:
            yield f"{variable}_CANARY={second}:{said.canary.weight}"
