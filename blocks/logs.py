"""The log of shim and orchestrator: lines for a person, or one JSON object a line; what is secret stands in neither."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

HIDDEN: Final = "***"
# What other programs' messages may hold: signatures in URLs, passwords in addresses, tokens, secrets, keys.
_SECRETS: Final = (
    (re.compile(r"(X-Amz-(?:Signature|Credential|Security-Token)=)[^&\s\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(r"(/hooks/runpod/)[^/?\s\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(Bearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), HIDDEN),
    (re.compile(r"\b(lsk_[A-Za-z0-9]+_[A-Za-z0-9]+)_[A-Za-z0-9_-]+"), rf"\1_{HIDDEN}"),
)

_task_id: ContextVar[str | None] = ContextVar("task_id", default=None)


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def about_task(task_id: str) -> None:
    """Put the id of a task on every line that follows in this context: a request, a run."""
    _task_id.set(task_id)


@contextmanager
def naming_task(task_id: str) -> Iterator[None]:
    """Put the id of a task on every line inside the block."""
    token = _task_id.set(task_id)
    try:
        yield
    finally:
        _task_id.reset(token)


def redacted(text: str) -> str:
    """Return a text without what is secret in it."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class JsonLines(logging.Formatter):
    """A line: time, level, logger, message, the task it is about, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        # Prefect's lines name their run, which is the task.
        task_id = getattr(record, "flow_run_id", None) or _task_id.get()
        if task_id:
            line["task_id"] = str(task_id)
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class Redacting(logging.Formatter):
    """Another formatter's lines without secrets."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return redacted(self._inner.format(record))


def set_up_logs(log_format: LogFormat) -> None:
    """Give every handler of this process that writes to a stream the format; called once, when all are there."""
    loggers = [logging.getLogger(), *map(logging.getLogger, tuple(logging.root.manager.loggerDict))]
    handlers = {id(handler): handler for logger in loggers for handler in logger.handlers}
    for handler in handlers.values():
        if isinstance(handler, logging.StreamHandler):
            handler.setFormatter(JsonLines() if log_format is LogFormat.JSON else Redacting(handler.formatter))
