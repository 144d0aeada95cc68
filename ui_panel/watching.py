"""Watching tasks: one stream per task and process, whatever the number of pages that look at it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from api_shim.calls import ApiError, ClientError
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.records import TaskRecord
from ui_panel.door import Door

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_UNKNOWN = frozenset({FaultCode.TASK_UNKNOWN, FaultCode.FORBIDDEN, FaultCode.REQUEST_INVALID})


@dataclass(frozen=True)
class Sight:
    """What is known of a task now.

    Attributes:
        record: The newest one; None while nothing has come.
        trouble: Why nothing newer comes; the record may be old.
        is_over: Nothing more will come: the task has ended or is unknown, or nothing has changed for too long.
    """

    record: TaskRecord | None = None
    trouble: Fault | None = None
    is_over: bool = False


OnSight = Callable[[Sight], None]


@dataclass
class _Watch:
    listeners: list[OnSight] = field(default_factory=list)
    last: Sight | None = None
    has_stream: bool = True
    task: asyncio.Task[None] | None = None


class Watchers:
    """Follows tasks by the service's event stream, or by asking for the status where there is none."""

    def __init__(self, door: Door, *, poll_seconds: float, silence_seconds: float) -> None:
        self._door = door
        self._poll_seconds = poll_seconds
        self._silence_seconds = silence_seconds
        self._watches: dict[str, _Watch] = {}
        self._has_events = True

    @property
    def stream_count(self) -> int:
        """How many tasks are being followed."""
        return sum(watch.task is not None and not watch.task.done() for watch in self._watches.values())

    def subscribe(self, task_id: str, listener: OnSight) -> Callable[[], None]:
        """Let `listener` see the task now and whenever something has changed; return what ends that.

        Must be called in the event loop; so are the listeners.
        """
        watch = self._watches.setdefault(task_id, _Watch())
        watch.listeners.append(listener)
        if watch.last:
            listener(watch.last)
        if watch.task is None or watch.task.done():
            watch.task = asyncio.get_running_loop().create_task(self._follow(task_id, watch))

        def leave() -> None:
            if listener in watch.listeners:
                watch.listeners.remove(listener)
            if not watch.listeners and self._watches.get(task_id) is watch:
                del self._watches[task_id]
                if watch.task:
                    watch.task.cancel()

        return leave

    async def _follow(self, task_id: str, watch: _Watch) -> None:
        pause = _FIRST_PAUSE_SECONDS
        changed = time.monotonic()
        while True:
            try:
                if await self._look(task_id, watch):
                    return
                pause = _FIRST_PAUSE_SECONDS
            except ClientError as error:
                if error.fault.code in _UNKNOWN:
                    _tell(watch, Sight(trouble=error.fault, is_over=True))
                    return
                if _tell(watch, Sight(record=_record_of(watch), trouble=error.fault)):
                    changed = time.monotonic()
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            newest = _record_of(watch)
            if newest and time.monotonic() - max(changed, _heard(watch)) > self._silence_seconds:
                fault = Fault(code=FaultCode.DEADLINE_EXCEEDED, detail="Nothing has changed for a long time.")
                _tell(watch, Sight(record=newest, trouble=fault, is_over=True))
                return
            await asyncio.sleep(pause if watch.last and watch.last.trouble else self._pause(watch))

    def _pause(self, watch: _Watch) -> float:
        # A stream that has ended by itself is opened again at once; questions are spaced.
        return _FIRST_PAUSE_SECONDS if self._has_events and watch.has_stream else self._poll_seconds

    async def _look(self, task_id: str, watch: _Watch) -> bool:
        """Follow the stream to its end, or ask once; return whether the task has ended."""
        if self._has_events:
            watch.has_stream = True
            try:
                async for record in self._door.events(task_id):
                    _see(watch, record)
                    if record.status.is_final:
                        return True
            except ApiError as error:
                match error.fault.code:
                    case FaultCode.ROUTE_UNKNOWN:
                        self._has_events = False
                    case FaultCode.TOO_MANY_LISTENERS:
                        # Until there is room for one more.
                        watch.has_stream = False
                    case _:
                        raise
            else:
                return False
        record = await self._door.status(task_id)
        _see(watch, record)
        return record.status.is_final


def _see(watch: _Watch, record: TaskRecord) -> None:
    known = _record_of(watch)
    # A stream that was opened again, or a mirror that was rebuilt, may tell what is older.
    if known and record.revision < known.revision and record.attempts <= known.attempts:
        record = known
    _tell(watch, Sight(record=record, is_over=record.status.is_final))


def _tell(watch: _Watch, sight: Sight) -> bool:
    if sight == watch.last:
        return False
    watch.last = sight
    for listener in tuple(watch.listeners):
        # A page that is being closed must not end the watch of the others.
        with suppress(RuntimeError):
            listener(sight)
    return True


def _record_of(watch: _Watch) -> TaskRecord | None:
    return watch.last.record if watch.last else None


def _heard(watch: _Watch) -> float:
    record = _record_of(watch)
    if record is None:
        return time.monotonic()
    return time.monotonic() - max(0.0, time.time() - record.updated_at.timestamp())
