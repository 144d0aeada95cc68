"""What has to be done: the difference between what is wanted and what an account has. Pure."""

from collections.abc import Iterable, Sequence
from enum import StrEnum, unique
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from deployments.fleet.errors import PreflightError
from deployments.fleet.resources import KINDS, Endpoint, Found, Kind, Resource, Template, Volume


@unique
class Action(StrEnum):
    """What is done to one resource."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Difference(BaseModel):
    """One field that is not as wanted. Values of the environment are not told: somebody may have put a secret there."""

    model_config = ConfigDict(frozen=True)

    field: str
    found: str
    wanted: str


class Change(BaseModel):
    """One step. `id` is None for what is not there yet."""

    model_config = ConfigDict(frozen=True)

    action: Action
    kind: Kind
    name: str
    id: str | None = None
    differences: tuple[Difference, ...] = ()


class Plan(BaseModel):
    """All steps in their order, and what lies under our prefix but is declared nowhere."""

    model_config = ConfigDict(frozen=True)

    prefix: str
    changes: tuple[Change, ...] = ()
    strays: tuple[Change, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.strays


_ORDER: Final = tuple(Kind)


def plan(wanted: Sequence[Resource], found: Iterable[Found], prefix: str) -> Plan:
    """Return the steps from `found` to `wanted`.

    Raises:
        PreflightError: A change is impossible, or a name of ours is there twice.
    """
    there = ours(found, prefix)
    steps = [step for resource in wanted if (step := _step(resource, there.get(_key(resource)))) is not None]
    known = {_key(resource) for resource in wanted}
    strays = [one for key, one in there.items() if key not in known]
    return Plan(prefix=prefix, changes=tuple(steps), strays=removal(strays))


def removal(found: Iterable[Found]) -> tuple[Change, ...]:
    """Return the steps that remove resources: endpoints first, since they stand on the others."""
    ordered = sorted(found, key=lambda one: (-_ORDER.index(one.kind), one.resource.name))
    return tuple(Change(action=Action.DELETE, kind=one.kind, name=one.resource.name, id=one.id) for one in ordered)


def ours(found: Iterable[Found], prefix: str) -> dict[tuple[Kind, str], Found]:
    """Return the resources under a prefix by kind and name.

    Raises:
        PreflightError: Two have one name; nobody can tell which is meant.
    """
    there: dict[tuple[Kind, str], Found] = {}
    for one in found:
        if not one.resource.name.startswith(f"{prefix}-"):
            continue
        key = _key(one.resource)
        if key in there:
            raise PreflightError(
                f"Two {one.kind}s are named {one.resource.name} ({there[key].id} and {one.id}); "
                "remove the one that is not in use in RunPod's console."
            )
        there[key] = one
    return there


def _key(resource: Resource) -> tuple[Kind, str]:
    return KINDS[type(resource)], resource.name


def _step(wanted: Resource, there: Found | None) -> Change | None:
    kind, name = _key(wanted)
    if there is None:
        return Change(action=Action.CREATE, kind=kind, name=name)
    if not (differences := tuple(_differences(wanted, there.resource))):
        return None
    if isinstance(wanted, Volume) and isinstance(there.resource, Volume):
        _check_volume(wanted, there.resource)
    return Change(action=Action.UPDATE, kind=kind, name=name, id=there.id, differences=differences)


def _differences(wanted: Resource, there: Resource) -> Iterable[Difference]:
    for field in type(wanted).model_fields:
        want, has = getattr(wanted, field), getattr(there, field)
        if want == has or _is_left_to_runpod(wanted, field, want) or _is_untold(there, field, has):
            continue
        if field == "env":
            yield from _env_differences(want, has)
        else:
            yield Difference(field=field, found=_shown(has), wanted=_shown(want))


def _is_left_to_runpod(wanted: Resource, field: str, want: Any) -> bool:  # noqa: ANN401  # a field of any model
    """Tell whether nothing is said: RunPod then fills in all data centres, and its own lowest CUDA version."""
    return isinstance(wanted, Endpoint) and field in {"data_centers", "min_cuda"} and not want


def _is_untold(there: Resource, field: str, has: Any) -> bool:  # noqa: ANN401  # the same
    return isinstance(there, Endpoint) and field == "flashboot" and has is None


def _env_differences(want: dict[str, str], has: dict[str, str]) -> Iterable[Difference]:
    for name in sorted(want.keys() | has.keys()):
        if want.get(name) != has.get(name):
            yield Difference(
                field=f"env.{name}",
                found="set" if name in has else "not set",
                wanted=("another value" if name in has else "set") if name in want else "not set",
            )


def _check_volume(wanted: Volume, there: Volume) -> None:
    if wanted.data_center != there.data_center:
        raise PreflightError(
            f"The volume {wanted.name} is in {there.data_center} and cannot move to {wanted.data_center}; "
            "declare another volume."
        )
    if wanted.size_gb < there.size_gb:
        raise PreflightError(
            f"The volume {wanted.name} has {there.size_gb} GB and cannot shrink to {wanted.size_gb}; declare as much."
        )


def _shown(value: Any) -> str:  # noqa: ANN401  # a field of any model
    if value is None:
        return "-"
    if isinstance(value, (tuple, frozenset)):
        return ", ".join(sorted(value) if isinstance(value, frozenset) else value) or "-"
    return str(value)


def templates_in(wanted: Iterable[Resource]) -> tuple[Template, ...]:
    """Return the templates among resources."""
    return tuple(one for one in wanted if isinstance(one, Template))


def endpoints_in(wanted: Iterable[Resource]) -> tuple[Endpoint, ...]:
    """Return the endpoints among resources."""
    return tuple(one for one in wanted if isinstance(one, Endpoint))
