"""Trust on first use: the digests of files that nobody has published one for, kept in a lock beside the files."""

import errno
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gpu_tasks.contract.artifacts import Digest
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.replacing import exclusive, replace_text

LOCK_FILE: Final = "models.lock.json"
_LOCK_SECONDS: Final = 30.0
_READ_ONLY: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class LockedModel(BaseModel):
    """The file that was trusted at first use. `host` is where it came from, None when somebody had put it there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Digest
    size_bytes: int = Field(gt=0)
    release: str | None
    host: str | None
    first_used_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class _Locks(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    models: dict[str, LockedModel] = Field(default_factory=dict)


def locked_in(folder: Path) -> Mapping[str, LockedModel]:
    """Return what was trusted in a weights folder, by model.

    Raises:
        FaultError: MODEL_CORRUPT when the lock cannot be understood: nothing is trusted anew behind its back.
    """
    try:
        return _Locks.model_validate_json((folder / LOCK_FILE).read_bytes()).models
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise FaultError(FaultCode.MODEL_CORRUPT, f"{LOCK_FILE} cannot be understood.") from error


def trust(folder: Path, model_id: str, file: LockedModel) -> LockedModel:
    """Lock a file, unless one of the same release is locked already; return the one that counts.

    In a folder that cannot be written nothing is kept: what is mounted read-only does not change under its readers.

    Raises:
        FaultError: As `locked_in`.
        OSError: The lock cannot be written for another reason.
        TimeoutError: Another process held it for too long.
    """
    try:
        with exclusive(folder / f".{LOCK_FILE}", seconds=_LOCK_SECONDS):
            known = locked_in(folder)
            if model_id in known and known[model_id].release == file.release:
                return known[model_id]
            locks = _Locks(models={**known, model_id: file})
            replace_text(folder / LOCK_FILE, locks.model_dump_json(indent=2) + "\n")
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
    return file
