"""Carries a plan out, one step after the other.

Nothing is remembered between two applies: whatever has been done is seen in the account, so an apply that broke off is
simply begun again and does the rest.
"""

from collections.abc import Callable, Sequence

from deployments.fleet.account import Account
from deployments.fleet.dialects import Known
from deployments.fleet.errors import AnswerLostError
from deployments.fleet.planning import Action, Change, Plan, ours
from deployments.fleet.resources import KINDS, Kind, Resource

OnChange = Callable[[Change], None]


def apply(account: Account, plan: Plan, wanted: Sequence[Resource], told: OnChange, *, prune: bool) -> None:
    """Carry out the steps of a plan; strays go last, and only with `prune`.

    Args:
        account: Where.
        plan: The steps, as `planning.plan` returned them for `wanted`.
        wanted: All resources.
        told: Is told each step when it has been done.
        prune: Whether what is declared nowhere is removed, volumes excepted: they hold data.

    Raises:
        AccountError: A step was refused; the ones before it stay done.
        AnswerLostError: It is not known whether the last step was done.
    """
    resources = {(KINDS[type(one)], one.name): one for one in wanted}
    ids = {key: one.id for key, one in ours(account.found(), plan.prefix).items()} if plan.changes else {}
    known = Known(ids, resources)
    for change in plan.changes:
        key = (change.kind, change.name)
        if change.id is None:
            ids[key] = _create(account, resources[key], known, plan.prefix)
        else:
            account.update(change.id, resources[key], known)
        told(change)
    if prune:
        remove(account, [one for one in plan.strays if one.kind is not Kind.VOLUME], told)


def remove(account: Account, changes: Sequence[Change], told: OnChange) -> None:
    """Remove resources, in the order given.

    Raises:
        AccountError: A step was refused; the ones before it stay done.
    """
    for change in changes:
        if change.action is Action.DELETE and change.id is not None:
            account.delete(change.id, change.kind, change.name)
            told(change)


def _create(account: Account, resource: Resource, known: Known, prefix: str) -> str:
    try:
        return account.create(resource, known)
    except AnswerLostError:
        # A second create would make a second endpoint of the same name, which costs money twice.
        there = ours(account.found(), prefix).get((KINDS[type(resource)], resource.name))
        if there is None:
            raise
        return there.id
