"""`lipswap`: the command line.

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 the task was cancelled, 4 the API or the stack is not there,
5 the task goes on but the waiting has ended, 130 interrupted.
"""

import os
from typing import Any, Final

import typer
from typer.main import get_command

from deployments.command.exits import Exit
from deployments.command.lazy import LazyGroup
from deployments.console import Told
from deployments.wording.english import ENGLISH
from deployments.wording.help_japanese import in_japanese
from deployments.wording.messages import Message
from deployments.wording.speaking import language_of
from gpu_tasks.contract.sentences import Language

__all__ = ["KEPT", "Exit", "command_line", "main"]

# What tells people and programs, in English, that a started stack stays.
KEPT: Final = ENGLISH[Message.KEPT]


class Commands(LazyGroup):
    """All commands: a new one is one line here."""

    places = {  # noqa: RUF012  # the base class says that it is the class's
        "demo": "deployments.command.stack:demo",
        "up": "deployments.command.stack:up",
        "run": "deployments.command.tasks:run",
        "status": "deployments.command.tasks:status",
        "cancel": "deployments.command.tasks:cancel",
        "preview": "deployments.command.previewing:preview",
        "inspect": "deployments.command.inspecting:inspect",
        "verify": "deployments.command.verifying:verify",
        "audit": "deployments.command.auditing:audit",
        "reprocess": "deployments.command.reprocessing:reprocess",
        "keys": "deployments.command.keys:keys",
        "ledger": "deployments.command.accounting:ledger",
        "models": "deployments.command.models:models",
        "samples": "deployments.command.sampling:samples",
        "doctor": "deployments.command.examining:doctor",
        "deploy": "deployments.command.deploying:deploy",
        "bucket": "deployments.command.buckets:bucket",
        "plan": "deployments.command.planning:plan",
        "conformance": "deployments.command.conforming:conformance",
    }


def lipswap() -> None:
    """Turns a voice, a video and a face into one lip-synced, face-swapped video."""


def command_line(language: Language) -> Any:  # noqa: ANN401  # typer's own click has no public types
    """Return the command line, with its help in a language."""
    app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(lipswap)
    group: Any = get_command(app)
    group.language = language
    if language is Language.JAPANESE:
        in_japanese(group, "")
    return group


def main() -> None:
    """Run the command line, in the language of the environment."""
    language = language_of(os.environ)
    command_line(language)(obj=Told(language), prog_name="lipswap")
