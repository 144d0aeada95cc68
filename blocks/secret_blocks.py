"""Secrets that stand in Prefect's own Secret blocks: `NAME_BLOCK=document` gives what variable NAME would.

Read once, when a process makes its settings; what reaches Prefect itself (`PREFECT_API_URL`, `PREFECT_API_AUTH_STRING`)
cannot stand there. A worker and the page know no Prefect and have no such variables.

ValueError
└── SecretBlockError  a block that a variable names cannot be used: said at the start of a process
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from blocks.prefect_refusal import reason_of

SUFFIX: Final = "_BLOCK"
_BLOCK_TYPE: Final = "secret"
_SECONDS: Final = 10.0


class SecretBlockError(ValueError):
    """A Secret block cannot be used; the sentence names the variable and the block, never a value."""


class SecretBlocks(PydanticBaseSettingsSource):
    """A source of settings behind the environment; asks Prefect only where a variable names a block."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing: all fields are read together, over one connection."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the secrets under the names by which the model takes them.

        Raises:
            SecretBlockError: A block is not there or holds no text, a secret is given in both ways, or Prefect does
                not answer.
        """
        places = {variable: path for path, variable in _variables(self.settings_cls)}
        documents = _documents(places, os.environ)
        found: dict[str, Any] = {}
        for variable, secret in (_read(documents) if documents else {}).items():
            *parents, name = places[variable]
            model = found
            for parent in parents:
                model = model.setdefault(parent, {})
            model[name] = secret
        return found


def _variables(kind: type[BaseSettings]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where each value stands in the model, and the variable that gives it; settings inside settings too."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseSettings):
            yield from (((name, *path), variable) for path, variable in _variables(inner))
        elif isinstance(field.validation_alias, str):
            yield (field.validation_alias,), field.validation_alias
        else:
            yield (name,), f"{kind.model_config.get('env_prefix', '')}{name}".upper()


def _documents(variables: Mapping[str, object], environment: Mapping[str, str]) -> dict[str, str]:
    named = {name: document for name in variables if (document := environment.get(name + SUFFIX))}
    if both := [name for name in named if environment.get(name)]:
        raise SecretBlockError(f"Both {both[0]} and {both[0]}{SUFFIX} are set; remove one.")
    return named


def _read(documents: Mapping[str, str]) -> dict[str, str]:
    # Seconds of imports, for the processes that have something to ask.
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.exceptions import ObjectNotFound  # noqa: PLC0415
    from prefect.settings import get_current_settings  # noqa: PLC0415

    first = f"{next(iter(documents))}{SUFFIX}"
    # Without an address Prefect's client would start a server of its own, which has no blocks.
    if not get_current_settings().api.url:
        raise SecretBlockError(f"{first} needs PREFECT_API_URL, the address of the Prefect server that has the block.")
    found = {}
    try:
        with get_client(httpx_settings={"timeout": _SECONDS}, sync_client=True) as client:
            for variable, document in documents.items():
                try:
                    held = client.read_block_document_by_name(document, _BLOCK_TYPE).data.get("value")
                except ObjectNotFound:
                    raise SecretBlockError(
                        f"{variable}{SUFFIX}: Prefect has no Secret block named {document}; correct the name."
                    ) from None
                if not isinstance(held, str) or not (secret := held.strip("\r\n")):
                    raise SecretBlockError(f"{variable}{SUFFIX}: the Secret block {document} holds no text.")
                found[variable] = secret
    except httpx.HTTPError as error:
        raise SecretBlockError(f"{first}: the Prefect server that PREFECT_API_URL names: {reason_of(error)}") from None
    return found
