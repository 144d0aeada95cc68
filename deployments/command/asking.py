"""Commands that ask the API: one way to say where it is, and one way to end when it does not answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import typer
from pydantic import SecretStr

from api_shim.client import ApiUnreachableError, Client, NotEndedError
from deployments.command.exits import Exit, told_errors, told_in
from deployments.command.options import DEFAULT_API, DEFAULT_DATA, Api, AsJson, Data, Secret
from deployments.console import Told
from deployments.local.addresses import StackAddresses, running_addresses
from deployments.wording.messages import Message

Arguments = ParamSpec("Arguments")

_ASKED: Final = (
    Parameter("data", Parameter.KEYWORD_ONLY, annotation=Data, default=DEFAULT_DATA),
    Parameter("api", Parameter.KEYWORD_ONLY, annotation=Api, default=None),
    Parameter("secret", Parameter.KEYWORD_ONLY, annotation=Secret, default=None),
    Parameter("as_json", Parameter.KEYWORD_ONLY, annotation=AsJson, default=False),
    Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context),
)


@dataclass(frozen=True, slots=True)
class Session:
    """The API that a command talks to, and the person who is told of it."""

    client: Client
    told: Told
    as_json: bool


def asks_api(command: Callable[Concatenate[Session, Arguments], None]) -> Callable[..., None]:
    """Give a command --data, --api, --secret and --json, and a session with the API that they name."""
    own = list(signature(command, eval_str=True).parameters.values())[1:]
    parameters = [*(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own), *_ASKED]

    @wraps(command)
    def run(*, data: Path, api: str | None, secret: str | None, as_json: bool, **arguments: Any) -> None:  # noqa: ANN401  # typer checks them
        told = told_in(arguments.pop("context"))
        with told_errors(told, as_json=as_json), api_errors(told), _client(data, api, secret) as client:
            call: Callable[..., None] = command
            call(Session(client, told, as_json), **arguments)

    # What typer reads a command's options from.
    run.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]  # set on purpose
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


@contextmanager
def api_errors(told: Told) -> Iterator[None]:
    """End with exit codes of their own where the API does not answer or only the waiting has ended."""
    try:
        yield
    except NotEndedError as error:
        told.say(Message.NOT_ENDED, detail=error, style="yellow")
        raise typer.Exit(Exit.NOT_ENDED) from None
    except ApiUnreachableError as error:
        told.say(Message.UNREACHABLE, detail=error, style="red")
        raise typer.Exit(Exit.UNREACHABLE) from None


@contextmanager
def _client(data: Path, api: str | None, secret: str | None) -> Iterator[Client]:
    local: StackAddresses | None = None if api else running_addresses(data)
    token = SecretStr(secret) if secret else local.api_secret if local else None
    with Client(api or (local.api_url if local else DEFAULT_API), secret=token) as client:
        yield client
