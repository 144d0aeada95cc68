"""A group whose commands are imported when they are named: a missing package stops the commands that need it only."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from deployments.command.exits import Exit, told_in
from deployments.wording.help_japanese import in_japanese
from deployments.wording.messages import Message
from gpu_tasks.contract.sentences import Language

_OURS: Final = frozenset({"api_shim", "blocks", "deployments", "flows", "gpu_tasks", "ui_panel"})


class LazyGroup(TyperGroup):
    """Finds commands in `places`: `module:name` by command name, in the order of the help."""

    places: ClassVar[Mapping[str, str]] = {}
    language = Language.ENGLISH

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  # typer's own click has no public types
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002  # the same
        place = self.places.get(cmd_name)
        if place is None:
            return None
        command = _loaded(cmd_name, place)
        if self.language is Language.JAPANESE:
            in_japanese(command, cmd_name)
        return command


def _loaded(name: str, place: str) -> Any:  # noqa: ANN401  # the same
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        if package in _OURS:
            raise
        takes_anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        return _command(name, _not_installed(name, package), takes_anything)
    if isinstance(found, typer.Typer):
        command = get_command(found)
        command.name = name
        return command
    return _command(name, found, {})


def _command(name: str, function: Callable[..., None], settings: dict[str, bool]) -> Any:  # noqa: ANN401  # the same
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name, context_settings=settings)(function)
    return get_command(app)


def _not_installed(name: str, package: str) -> Callable[..., None]:
    def missing(context: typer.Context) -> None:
        told_in(context).say(Message.NOT_INSTALLED, command=name, package=package, style="red")
        raise typer.Exit(Exit.UNREACHABLE)

    missing.__doc__ = f"Not available: {package} is not installed."
    return missing
