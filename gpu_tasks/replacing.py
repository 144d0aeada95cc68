"""Files that others read while they are written: by one at a time, and never half."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

_PAUSE_SECONDS: Final = 0.05


@contextmanager
def exclusive(lock: Path, *, seconds: float) -> Iterator[None]:
    """Hold a lock file, against threads and processes alike; the kernel lets go of it however the holder ends.

    Raises:
        TimeoutError: Somebody else held it for `seconds`.
    """
    deadline = time.monotonic() + seconds
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _locked(descriptor):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{lock.name} is held by another process")
            time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Give a name to write to, beside `path`; it becomes `path` when the block succeeds and is removed otherwise.

    A reader never finds half a file under the real name. Two that write the same `path` at once write the same draft.
    """
    draft = path.with_name(f"{path.name}.partial")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a small file in one step: a reader finds the old one or the new one."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
