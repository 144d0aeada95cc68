"""How a command ends: exit codes, and errors that a person can do something about as a sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from blocks.secret_blocks import SecretBlockError
from deployments.console import Told
from deployments.fleet.errors import DeployError
from deployments.local.errors import StackError
from deployments.wording.messages import Message
from gpu_tasks.contract.faults import FaultError
from gpu_tasks.provenance.errors import SigningSettingsError

Settings = TypeVar("Settings", bound=BaseSettings)


class Exit(IntEnum):
    """What a shell or a program learns from the exit code; 2 is wrong usage."""

    DONE = 0
    FAILED = 1
    CANCELLED = 3
    UNREACHABLE = 4
    NOT_ENDED = 5
    INTERRUPTED = 130


def told_in(context: typer.Context) -> Told:
    """Return what speaks to the person at this command line, in the language that was found at the start."""
    return context.find_object(Told) or Told()


class SettingsUnusableError(ValueError):
    """A variable of the environment cannot be used; the sentence names it, never its value."""


def settings_of(kind: type[Settings]) -> Settings:
    """Read settings from the environment.

    Raises:
        SettingsUnusableError: A value does not fit.
    """
    try:
        return kind()
    except SecretBlockError as error:
        raise SettingsUnusableError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        # A person sets variables: an alias is one already, a field's own name stands behind the prefix.
        variable = f"{kind.model_config.get('env_prefix', '')}{field}".upper() if field in kind.model_fields else field
        raise SettingsUnusableError(f"{variable}: {first['msg']}".removeprefix(": ")) from error


@contextmanager
def told_errors(told: Told, *, as_json: bool = False) -> Iterator[None]:
    """Turn errors that a person can do something about into a sentence and an exit code, for programs into JSON."""
    try:
        yield
    except KeyboardInterrupt:
        told.say(Message.STOPPED, style="yellow")
        raise typer.Exit(Exit.INTERRUPTED) from None
    except StackError as error:
        told.say(Message.STACK_ERROR, detail=error, style="red")
        raise typer.Exit(Exit.UNREACHABLE) from None
    except DeployError as error:
        told.say(Message.DEPLOY_ERROR, detail=error, style="red")
        raise typer.Exit(Exit.FAILED) from None
    except FaultError as error:
        told.fault(error.fault)
        if as_json:
            sys.stdout.write(error.fault.model_dump_json() + "\n")
        raise typer.Exit(Exit.FAILED) from None
    except (SettingsUnusableError, SigningSettingsError) as error:
        told.say(Message.BAD_SETTINGS, detail=error, style="red")
        raise typer.Exit(Exit.FAILED) from None
    except OSError as error:
        name = error.filename or told.text(Message.A_FILE)
        told.say(Message.FILE_ERROR, name=name, reason=error.strerror or error, style="red")
        raise typer.Exit(Exit.FAILED) from None
