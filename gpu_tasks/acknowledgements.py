"""Licences that somebody has acknowledged for the models of one weights folder, kept beside them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.replacing import exclusive, replace_text

_FILE: Final = "acknowledged.json"
_LOCK: Final = ".acknowledged.lock"
_LOCK_SECONDS: Final = 10.0


class Acknowledgements(BaseModel):
    """When each licence was acknowledged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    licences: dict[str, datetime] = Field(default_factory=dict)


def acknowledged_in(folder: Path) -> frozenset[str]:
    """Return the licences that were acknowledged for a weights folder.

    Raises:
        FaultError: LICENCE_NOT_ACKNOWLEDGED when the file cannot be understood: nothing is taken for granted.
    """
    return frozenset(_read(folder).licences)


def acknowledge(folder: Path, licence: str) -> bool:
    """Note that a licence was acknowledged; tell whether it was new.

    Raises:
        FaultError: As `acknowledged_in`.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / _LOCK, seconds=_LOCK_SECONDS):
        known = _read(folder).licences
        if licence in known:
            return False
        kept = Acknowledgements(licences={**known, licence: datetime.now(UTC)})
        replace_text(folder / _FILE, kept.model_dump_json(indent=2) + "\n")
        return True


def _read(folder: Path) -> Acknowledgements:
    try:
        return Acknowledgements.model_validate_json((folder / _FILE).read_bytes())
    except FileNotFoundError:
        return Acknowledgements()
    except ValidationError as error:
        raise FaultError(FaultCode.LICENCE_NOT_ACKNOWLEDGED, f"{_FILE} cannot be understood; remove it.") from error
