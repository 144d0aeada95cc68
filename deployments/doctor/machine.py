"""What the machine has: disk, memory, an account, a clock, a browser."""

import getpass
import os
import pwd
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from deployments.doctor.findings import Check, Finding, fine, notice, problem
from deployments.wording.messages import Message

_GIB: Final = 1 << 30
# Of a demo stack: servers, workers and their files, with room for a clip.
_DISK_GIB, _ROOMY_DISK_GIB = 1.0, 5.0
_MEMORY_GIB, _ROOMY_MEMORY_GIB = 1.5, 3.0
# Accounts to which root's Postgres drops; see postgres_place.
_POSTGRES_ACCOUNTS: Final = ("postgres", "nobody")
_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_CODE: Final = Path(__file__)


def look_at_disk(data: Path, *, least: float = _DISK_GIB, roomy: float = _ROOMY_DISK_GIB) -> Finding:
    """Whether the data folder's disk has room: below `least` GiB it is a problem, below `roomy` worth a word."""
    folder = _nearest(data)
    free = shutil.disk_usage(folder).free / _GIB
    values = {"free": free, "folder": str(folder)}
    if free < least:
        return problem(Check.DISK, Message.FREE_IN, Message.DISK_FIX, needed=least, **values)
    if free < roomy:
        return notice(Check.DISK, Message.FREE_IN, Message.DISK_FIX, needed=roomy, **values)
    return fine(Check.DISK, Message.FREE_IN, **values)


def look_at_memory(*, least: float = _MEMORY_GIB, roomy: float = _ROOMY_MEMORY_GIB) -> Finding:
    """Whether the stack fits beside what runs already: `least` and `roomy` as for the disk."""
    memory = psutil.virtual_memory()
    values = {"free": memory.available / _GIB, "total": memory.total / _GIB}
    if values["free"] < least:
        return problem(Check.MEMORY, Message.MEMORY_FREE, Message.MEMORY_FIX, needed=least, **values)
    if values["free"] < roomy:
        return notice(Check.MEMORY, Message.MEMORY_FREE, Message.MEMORY_FIX, needed=roomy, **values)
    return fine(Check.MEMORY, Message.MEMORY_FREE, **values)


def look_at_data_folder(data: Path) -> Finding:
    """Whether the data folder, or the folder in which it will be made, can be written. Nothing stays."""
    folder = _nearest(data)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lipswap-doctor-"):
            return fine(Check.DATA_FOLDER, Message.FOLDER_WRITABLE, folder=str(data.absolute()))
    except OSError as error:
        return problem(
            Check.DATA_FOLDER,
            Message.FOLDER_CLOSED,
            Message.FOLDER_FIX,
            folder=str(folder),
            reason=error.strerror or str(error),
            user=_user(),
        )


def look_at_account(*, accounts: tuple[str, ...] = _POSTGRES_ACCOUNTS) -> Finding:
    """Whether Postgres has an account to run under: it refuses root's."""
    if os.geteuid() != 0:
        return fine(Check.ACCOUNT, Message.ACCOUNT_ORDINARY, user=_user())
    for name in accounts:
        if _is_account(name):
            return notice(Check.ACCOUNT, Message.ACCOUNT_ROOT, Message.ACCOUNT_ROOT_FIX, user=name)
    return problem(Check.ACCOUNT, Message.ACCOUNT_MISSING, Message.ACCOUNT_MISSING_FIX)


def look_at_clock(*, now: datetime | None = None) -> Finding:
    """Whether the clock is plausible: not before the files of this very program were made."""
    moment = now or datetime.now(UTC)
    made = datetime.fromtimestamp(_CODE.stat().st_mtime, UTC)
    values = {"now": f"{moment:%Y-%m-%d %H:%M:%S}"}
    if moment < made:
        return problem(Check.CLOCK, Message.CLOCK_BEHIND, Message.CLOCK_FIX, made=f"{made:%Y-%m-%d %H:%M:%S}", **values)
    return fine(Check.CLOCK, Message.CLOCK_RIGHT, **values)


def look_for_chromium() -> Finding:
    """Which browser there is; nothing but tests of pages needs one."""
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        return fine(Check.CHROMIUM, Message.CHROMIUM_ABSENT)
    return fine(Check.CHROMIUM, Message.CHROMIUM_THERE, program=found)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above that exists."""
    absolute = folder.absolute()
    return next(path for path in (absolute, *absolute.parents) if path.exists())


def _is_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.geteuid())
