"""The worker's log: one JSON object a line, each with the job it belongs to, and the last lines of a job for its reply.

What is logged never holds a credential or a URL. Tracebacks (they hold paths) go to the log, never into a reply.
"""

import json
import logging
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_OURS = logging.getLogger("gpu_tasks")
_TAIL_LINES = 40

_job: ContextVar[dict[str, str | int]] = ContextVar("job")


class JsonLines(logging.Formatter):
    """A line: time, level, message, the job's names, and what the caller gave as `extra={"facts": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            **_job.get({}),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Tail(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_TAIL_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        facts = "".join(f" {name}={value}" for name, value in getattr(record, "facts", {}).items())
        self.lines.append(f"{_moment(record):%H:%M:%S} {record.levelname} {record.getMessage()}{facts}")


def configure_log(level: str) -> None:
    """Send our own lines to standard error; called once, at the process entry."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    _OURS.addHandler(handler)
    _OURS.setLevel(level)
    # The SDK prints through its own logger; nothing of ours shall appear twice.
    _OURS.propagate = False


@contextmanager
def naming_job(**names: str | int) -> Iterator[None]:
    """Put these names on every line written inside the context, besides those already there."""
    token = _job.set({**_job.get({}), **names})
    try:
        yield
    finally:
        _job.reset(token)


@contextmanager
def log_tail() -> Iterator[deque[str]]:
    """Collect the last lines written inside the context, by all threads: a worker has one job at a time."""
    tail = _Tail()
    _OURS.addHandler(tail)
    try:
        yield tail.lines
    finally:
        _OURS.removeHandler(tail)


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)
