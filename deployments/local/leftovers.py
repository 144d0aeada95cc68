"""One supervisor per data directory, and an end for what a killed one left behind."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from pydantic import TypeAdapter, ValidationError

from deployments.local.errors import StackAlreadyRunning
from deployments.local.processes import MARK, ChildRecord

_RECORDS = TypeAdapter(tuple[ChildRecord, ...])
_TERMINATE_SECONDS = 4.0
_KILL_SECONDS = 4.0
_PAUSE_SECONDS = 0.02
_START_TOLERANCE_SECONDS = 0.05


@contextmanager
def only_supervisor(lock_path: Path) -> Iterator[None]:
    """Hold the data directory's lock; the kernel lets go of it however the holder ends.

    Raises:
        StackAlreadyRunning: another process holds it; the error names its pid.
    """
    descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackAlreadyRunning(lock_path.parent, _read_pid(descriptor)) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def supervisor_pid(lock_path: Path) -> int | None:
    """Return the pid of the supervisor that holds the lock now, or None."""
    with suppress(FileNotFoundError):
        descriptor = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(descriptor)
        finally:
            os.close(descriptor)
    return None


class ChildRecords:
    """The direct children that run now, on disk for the next start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[int, ChildRecord] = {}

    def add(self, record: ChildRecord) -> None:
        self._records[record.pid] = record
        self._write()

    def remove(self, record: ChildRecord) -> None:
        self._records.pop(record.pid, None)
        self._write()

    def left(self) -> tuple[ChildRecord, ...]:
        """Return what the last supervisor recorded; a torn or missing file is none."""
        try:
            return _RECORDS.validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return ()

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_bytes(_RECORDS.dump_json(tuple(self._records.values())))
        draft.replace(self._path)


def recorded_processes(records: Iterable[ChildRecord]) -> list[psutil.Process]:
    """Return the processes that are still the recorded ones: same pid and same start time."""
    alive = []
    for record in records:
        with suppress(psutil.Error):
            process = psutil.Process(record.pid)
            if abs(process.create_time() - record.started) < _START_TOLERANCE_SECONDS:
                alive.append(process)
    return alive


def marked_processes(mark: str) -> list[psutil.Process]:
    """Return the processes whose environment carries this mark, or any mark that begins with it and ends in `:`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            value = process.environ().get(MARK, "")
            matches = value.startswith(mark) if mark.endswith(":") else value == mark
            if matches and process.pid != os.getpid():
                found.append(process)
    return found


def end_processes(processes: Iterable[psutil.Process]) -> int:
    """Terminate, then kill, and return how many there were.

    psutil compares start times before it signals, so a reused pid is safe.
    """
    # The same process may have been found by its record and by its mark.
    chosen = list({process.pid: process for process in processes}.values())
    for process in chosen:
        with suppress(psutil.Error):
            process.terminate()
    alive = _wait(chosen, _TERMINATE_SECONDS)
    for process in alive:
        with suppress(psutil.Error):
            process.kill()
    _wait(alive, _KILL_SECONDS)
    return len(chosen)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until they have ended and return those that have not."""
    deadline = time.monotonic() + seconds
    alive = [process for process in processes if _runs(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
        alive = [process for process in alive if _runs(process)]
    return alive


def _runs(process: psutil.Process) -> bool:
    # A zombie has ended; in a container whose first process reaps nobody it stays one for ever.
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _read_pid(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode(errors="replace")
    return int(text) if text.isdigit() else None
