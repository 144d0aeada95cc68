"""Which variables a process's settings are read from."""

from collections.abc import Iterator

from pydantic import AliasChoices
from pydantic_settings import BaseSettings


def variables_of(kind: type[BaseSettings]) -> set[str]:
    """Return the names of all variables that a model reads, those of settings inside it too."""
    return set(_named(kind))


def _named(kind: type[BaseSettings]) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseSettings):
            yield from _named(inner)
        elif isinstance(field.validation_alias, str):
            yield field.validation_alias
        elif isinstance(field.validation_alias, AliasChoices):
            yield from (choice for choice in field.validation_alias.choices if isinstance(choice, str))
        else:
            yield f"{kind.model_config.get('env_prefix', '')}{name}".upper()
