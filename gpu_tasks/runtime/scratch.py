"""Scratch directories that never outlive their process by more than its successor's start."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_LOCK = "lock"


class Scratch:
    """One process's folder, with one folder per job in it.

    Whether the owner lives is told by a record lock that it holds: a container gives the same process id to every
    worker, and a forked child (the SDK's ping process outlives a killed worker) does not inherit record locks.
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    @contextmanager
    def job_folder(self) -> Iterator[Path]:
        """Give an empty folder that is gone when the context ends."""
        with tempfile.TemporaryDirectory(dir=self.home, prefix="job-") as folder:
            yield Path(folder)


@contextmanager
def open_scratch(root: Path) -> Iterator[Scratch]:
    """Sweep the folders of dead processes under `root`, then give this process its own. Once per process."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    # In a shared temporary directory anybody could have made it first, with links in it that lead to files of ours.
    if root.is_symlink() or root.stat().st_uid != os.geteuid():
        raise PermissionError(f"{root} belongs to somebody else; set LIPSWAP_SCRATCH_ROOT")
    with (root / _LOCK).open("wb") as gate:
        # Between a folder's making and its locking nobody may take it for a dead one.
        fcntl.lockf(gate, fcntl.LOCK_EX)
        _sweep(root)
        home = Path(tempfile.mkdtemp(dir=root, prefix="worker-"))
        lock = _lock(home)
        fcntl.lockf(gate, fcntl.LOCK_UN)
    try:
        yield Scratch(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        lock.close()


def _sweep(root: Path) -> None:
    for home in root.glob("worker-*"):
        try:
            _lock(home).close()
        except BlockingIOError:
            continue
        except FileNotFoundError:
            # Its owner is just leaving.
            continue
        shutil.rmtree(home, ignore_errors=True)


def _lock(home: Path) -> IO[bytes]:
    lock = (home / _LOCK).open("wb")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise
    return lock
