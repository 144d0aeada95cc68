"""Fields of a job that this version does not act on: refused by name, or noted in the receipt; never ignored."""

from collections.abc import Set as AbstractSet

from pydantic import BaseModel

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.options import changed_options


def refuse(field: str, why: str) -> FaultError:
    """Return the fault that names a field."""
    return FaultError(FaultCode.OPTION_UNSUPPORTED, f"{field}: {why}")


def options_without_effect(options: BaseModel, honoured: AbstractSet[str]) -> tuple[str, ...]:
    """Return one note for each option that a caller set and that the draft engine has no use for."""
    return tuple(
        f"{name} has no effect in the draft engine" for name in changed_options(options) if name not in honoured
    )
