"""`lipswap models`: what may run, what lies here, and under which terms."""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

from deployments.command.exits import Exit, settings_of, told_errors, told_in
from deployments.command.options import AsJson, Weights
from deployments.console import Told
from deployments.housekeeping import LicenceRow, ModelRow, Presence, licence_rows, model_rows, wanted
from deployments.wording.messages import Message
from gpu_tasks.acknowledgements import acknowledge as keep_acknowledgement
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.contract.sentences import Language
from gpu_tasks.downloads import DownloadLimits
from gpu_tasks.settings import WeightSettings
from gpu_tasks.weights import Trust, WeightStore, open_weights

models = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The models: where they come from, what lies here, on which terms."
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Models by name.")]
All = Annotated[bool, typer.Option("--all", help="All models whose licences are permissive or acknowledged.")]

PRESENCES = {presence: Message[f"MODEL_{presence.name}"] for presence in Presence}
TRUSTS = {trust: Message[f"CHECKED_{trust.name}"] for trust in Trust}


@models.command("list")
def list_models(context: typer.Context, weights: Weights = None, as_json: AsJson = False) -> None:
    """Show every model with its role, what lies here of it, and its licence."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        rows = model_rows(_store(weights))
    if as_json:
        _write([row.model_dump(mode="json") for row in rows])
        return
    told.rows(_headings(Message.MODEL_HEADINGS, told), [_model_cells(row, told) for row in rows])


@models.command()
def pull(
    context: typer.Context,
    names: Names = None,
    every: All = False,
    defaults: Annotated[bool, typer.Option("--defaults", help="The default model of every role.")] = False,
    weights: Weights = None,
    as_json: AsJson = False,
) -> None:
    """Fetch models and what they need, resuming what was begun, and verify them."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        store = _store(weights)
        chosen = wanted(store, tuple(names or ()), every=every, defaults=defaults)
        if not chosen:
            raise typer.BadParameter(told.text(Message.NAME_MODELS))
        for name in chosen:
            # Before anything is fetched: a licence is no news after a gigabyte.
            store.check_licence(name)
        limits = DownloadLimits(proxies=urllib.request.getproxies())
        pulled = {}
        for name in chosen:
            with told.fetching(name) as bar:
                pulled[name] = store.pull(name, limits=limits, report=bar.show)
            told.say(Message.PULLED, name=name, path=pulled[name], style="green")
    if as_json:
        _write({name: str(path) for name, path in pulled.items()})


@models.command()
def verify(context: typer.Context, names: Names = None, weights: Weights = None, as_json: AsJson = False) -> None:
    """Read models from their first to their last byte and compare digests; without names, all that lie here."""
    told = told_in(context)
    outcomes: dict[str, dict[str, object]] = {}
    with told_errors(told, as_json=as_json):
        store = _store(weights)
        here = tuple(row.name for row in model_rows(store) if row.presence in {Presence.BUNDLED, Presence.THERE})
        for name in names or here:
            outcomes[name] = _verified(store, name, told)
    if as_json:
        _write(outcomes)
    is_right = all(outcome["right"] for outcome in outcomes.values())
    raise typer.Exit(Exit.DONE if is_right else Exit.FAILED)


@models.command()
def licences(context: typer.Context, weights: Weights = None, as_json: AsJson = False) -> None:
    """Show every licence: what it means, its models, and whether it must be and was acknowledged."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        rows = licence_rows(_store(weights))
    if as_json:
        _write([row.model_dump(mode="json") for row in rows])
        return
    told.rows(_headings(Message.LICENCE_HEADINGS, told), [_licence_cells(row, told) for row in rows])


@models.command()
def acknowledge(context: typer.Context, licence: str, weights: Weights = None) -> None:
    """Acknowledge a licence for the models of a folder: read it first, it decides what you may do with results."""
    told = told_in(context)
    with told_errors(told):
        store = _store(weights)
        terms = store.manifest.licences.get(licence)
        if terms is None:
            raise typer.BadParameter(told.text(Message.LICENCE_UNKNOWN, licence=licence))
        if keep_acknowledgement(store.folder, licence):
            summary = terms.summary_ja if told.language is Language.JAPANESE else terms.summary
            told.say(Message.ACKNOWLEDGED_NOW, licence=licence, folder=store.folder, summary=summary, style="green")
        else:
            told.say(Message.ACKNOWLEDGED_BEFORE, licence=licence)


def _store(weights: Path | None) -> WeightStore:
    settings = settings_of(WeightSettings)
    return open_weights(settings if weights is None else settings.model_copy(update={"weights": weights}))


def _verified(store: WeightStore, name: str, told: Told) -> dict[str, object]:
    try:
        verified = store.verify(name)
    except FaultError as error:
        told.fault(error.fault)
        return {"right": False, "error": error.fault.code, "detail": error.fault.detail}
    told.say(TRUSTS[verified.trust], name=name, style="green")
    return {
        "right": True,
        "sha256": verified.sha256,
        "size_bytes": verified.size_bytes,
        "trust": verified.trust,
    }


def _model_cells(row: ModelRow, told: Told) -> tuple[str, ...]:
    name = told.text(Message.DEFAULT_MARK, name=row.name) if row.is_default else row.name
    size = f"{row.size_bytes / 1e6:.1f} MB" if row.size_bytes else told.text(Message.SIZE_UNKNOWN)
    return (name, row.role, told.text(PRESENCES[row.presence]), size, told.text(row.commercial), row.licence)


def _licence_cells(row: LicenceRow, told: Told) -> tuple[str, ...]:
    summary = row.summary_ja if told.language is Language.JAPANESE else row.summary
    return (row.licence, told.text(row.commercial), told.text(row.standing), str(len(row.models)), summary)


def _headings(message: Message, told: Told) -> tuple[str, ...]:
    return tuple(told.text(message).split("|"))


def _write(answer: object) -> None:
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
