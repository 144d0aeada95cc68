"""Watching tasks: whoever waits for a record shares one look at it with all who wait for the same."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Final

from api_shim.metrics import Metrics
from api_shim.records import Records
from blocks.record_feed import RecordFeed, heard_within
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import TaskRecord

# Pushes come by themselves; this re-read is for the one that got lost.
_REREAD_SECONDS: Final = 10.0
# Without Redis there are no pushes.
_REREAD_WITHOUT_PUSH_SECONDS: Final = 1.0
# Who comes later gets URLs of its own.
_FRAME_SECONDS: Final = 30.0
# One API key leaves places to the others.
_SHARE_OF_A_KEY: Final = 4


class Watched:
    """The newest record of one task, for all its watchers: each holds no more than the revision it has seen."""

    def __init__(self) -> None:
        self._record: TaskRecord | None = None
        self._frame = b""
        self._framed_at = 0.0
        self._changed = asyncio.Event()
        self.watchers = 0
        # Deleted meanwhile.
        self.is_gone = False

    @property
    def record(self) -> TaskRecord | None:
        return self._record

    def tell(self, record: TaskRecord, *, counts_anew: bool = False) -> bool:
        """Put a record in place of an older one; who waits is woken. Returns whether it was taken.

        Args:
            record: As it was read.
            counts_anew: Take one of a lower revision, too, but never in place of an end.
        """
        known = self._record
        if known is not None and not _follows(record, known, counts_anew=counts_anew):
            return False
        self._record, self._frame = record, b""
        self._wake()
        return True

    def end(self) -> None:
        """Tell the watchers that the task is gone."""
        self.is_gone = True
        self._wake()

    async def changed(self, seconds: float) -> None:
        """Return at the next change, at the latest after `seconds`."""
        event = self._changed
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    def framed(self, records: Records) -> bytes:
        """Return the newest record as one line of JSON, with URLs signed once for all who watch now."""
        is_old = time.monotonic() - self._framed_at > _FRAME_SECONDS
        if self._record is not None and (is_old or not self._frame):
            self._frame = records.for_reader(self._record).model_dump_json().encode()
            self._framed_at = time.monotonic()
        return self._frame

    def _wake(self) -> None:
        # Everybody holds the old event: a new one waits for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


class Watching:
    """Hands out what is watched; a task that nobody watches any more is not looked at.

    Args:
        records: Where records are read.
        feed: What tells that one has changed.
        metrics: Counts watchers and lags.
        max_streams: How many listeners may be connected at once; of one API key a quarter of them.
    """

    def __init__(self, records: Records, feed: RecordFeed, metrics: Metrics, *, max_streams: int) -> None:
        self._records = records
        self._metrics = metrics
        self._feed = feed
        self._watched: dict[str, tuple[Watched, asyncio.Task[None]]] = {}
        self._max_streams = max_streams
        # By API key; those of the shared secret and of everybody under None.
        self._streams: Counter[str | None] = Counter()

    @contextmanager
    def stream(self, key_id: str | None) -> Iterator[None]:
        """Hold a place for a listener as long as the block lasts.

        Args:
            key_id: The API key that listens, None for whoever has none.

        Raises:
            FaultError: TOO_MANY_LISTENERS.
        """
        if self._streams.total() >= self._max_streams:
            raise FaultError(FaultCode.TOO_MANY_LISTENERS, f"The limit is {self._max_streams}.")
        of_a_key = max(1, self._max_streams // _SHARE_OF_A_KEY)
        if key_id is not None and self._streams[key_id] >= of_a_key:
            raise FaultError(FaultCode.TOO_MANY_LISTENERS, f"The limit of one API key is {of_a_key}.")
        self._streams[key_id] += 1
        try:
            yield
        finally:
            self._streams[key_id] -= 1
            if not self._streams[key_id]:
                del self._streams[key_id]

    @asynccontextmanager
    async def of(self, task_id: str) -> AsyncIterator[Watched]:
        """Yield what is known of a task, kept up to date as long as the block lasts."""
        if task_id not in self._watched:
            watched = Watched()
            self._watched[task_id] = (watched, asyncio.create_task(self._keep(task_id, watched)))
        watched, keeping = self._watched[task_id]
        watched.watchers += 1
        self._metrics.listeners.inc()
        try:
            yield watched
        finally:
            watched.watchers -= 1
            self._metrics.listeners.dec()
            if not watched.watchers:
                del self._watched[task_id]
                keeping.cancel()

    async def end_of(self, task_id: str, *, seconds: float) -> TaskRecord:
        """Return the final record as soon as there is one, else the record so far when `seconds` are over.

        Raises:
            FaultError: TASK_UNKNOWN, or ORCHESTRATOR_UNAVAILABLE when neither Redis nor Prefect knows the task.
        """
        deadline = time.monotonic() + seconds
        record = await self._records.read(task_id)
        if record.status.is_final:
            return record
        async with self.of(task_id) as watched:
            watched.tell(record)
            while (left := deadline - time.monotonic()) > 0 and not watched.is_gone and not _is_over(watched):
                await watched.changed(left)
            return watched.record or record

    async def _keep(self, task_id: str, watched: Watched) -> None:
        with self._feed.hearing(task_id) as news:
            while not _is_over(watched):
                try:
                    record = await self._records.read(task_id)
                    is_change = watched.record is not None
                    # What Redis lost is counted anew. While it is away, Prefect knows less than was told already.
                    if watched.tell(record, counts_anew=self._feed.is_live) and is_change:
                        lag = (datetime.now(UTC) - record.updated_at).total_seconds()
                        self._metrics.push_lag.observe(max(0.0, lag))
                except FaultError as error:
                    if error.fault.code is FaultCode.TASK_UNKNOWN:
                        watched.end()
                        return
                    # An outage: the watchers wait, as they would for a change.
                pause = _REREAD_SECONDS if self._feed.is_live else _REREAD_WITHOUT_PUSH_SECONDS
                await heard_within(news, pause)


def _follows(record: TaskRecord, known: TaskRecord, *, counts_anew: bool) -> bool:
    if record.revision > known.revision or (record.status.is_final and not known.status.is_final):
        return True
    return counts_anew and record.revision < known.revision and not known.status.is_final


def _is_over(watched: Watched) -> bool:
    return watched.record is not None and watched.record.status.is_final
