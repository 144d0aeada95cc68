"""Writes into the mirror what a flow cannot write about itself: crashed, cancelled before it started, late."""

import asyncio
import logging
from contextlib import suppress
from typing import Final
from uuid import UUID

from prefect.events import Event
from prefect.events.clients import PrefectEventSubscriber
from prefect.events.filters import EventFilter, EventNameFilter

from api_shim.metrics import Metrics
from api_shim.rebuild import GRACE
from api_shim.records import Records
from api_shim.runs import Runs
from blocks import record_changes
from blocks.job_store import JobStore, JobStoreError
from blocks.logs import about_task
from flows.request import DEPLOYMENT
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.records import Status, TaskRecord

_logger = logging.getLogger(__name__)

# Failed and Completed stand here for a flow that could not reach Redis at its end; normally its record is final
# already, and is only counted.
_ENDED: Final = tuple(
    f"prefect.flow-run.{state}" for state in ("Completed", "Crashed", "Cancelled", "Failed", "TimedOut")
)
_LATE: Final = "prefect.flow-run.Late"
_FLOW: Final = DEPLOYMENT.partition("/")[0]
_RESOURCE: Final = "prefect.flow-run."
_RECONNECT_SECONDS: Final = 1.0
_MAX_RECONNECT_SECONDS: Final = 15.0
_MAX_AT_ONCE: Final = 8


class Mirror:
    """Follows the events of flow runs for as long as the shim runs.

    Several shims may follow at once: each write is a compare-and-set and an end is written once. On every connect the
    server repeats what happened lately, so a short absence loses nothing; a longer one is noticed when a stale record
    is read.
    """

    def __init__(self, api_url: str, store: JobStore, records: Records, runs: Runs, metrics: Metrics) -> None:
        self._api_url = api_url
        self._store = store
        self._records = records
        self._runs = runs
        self._metrics = metrics
        # After an absence the server repeats many events in one go.
        self._few_at_once = asyncio.Semaphore(_MAX_AT_ONCE)

    async def follow(self) -> None:
        """Follow until cancelled; whatever happens to the connection, connect again."""
        pause = _RECONNECT_SECONDS
        while True:
            subscriber = self._subscriber()
            try:
                async with subscriber as events, asyncio.TaskGroup() as settling:
                    pause = _RECONNECT_SECONDS
                    async for event in events:
                        if _is_of_the_pipeline(event):
                            settling.create_task(self._take(event))
            # The subscriber raises bare Exception when its server is not ready yet; nothing may end the mirror.
            except Exception as error:  # noqa: BLE001  # said above
                _logger.warning("lost the events of Prefect (%s); connecting again", type(error).__name__)
            finally:
                await _hang_up(subscriber)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RECONNECT_SECONDS)

    def _subscriber(self) -> PrefectEventSubscriber:
        wanted = EventFilter(event=EventNameFilter(name=[*_ENDED, _LATE]))
        return PrefectEventSubscriber(api_url=self._api_url, filter=wanted, reconnection_attempts=0)

    async def _take(self, event: Event) -> None:
        run_id = UUID(event.resource.id.removeprefix(_RESOURCE))
        try:
            if event.event == _LATE:
                await self._store.change(str(run_id), lambda stored: _late(stored, event))
                return
            about_task(str(run_id))
            await self._settle(str(run_id), event)
        except FaultError as error:
            # Another flow's run, or a server that is away: readers find out by themselves.
            if error.fault.code is not FaultCode.TASK_UNKNOWN:
                _logger.warning("could not mirror %s of %s: %s", event.event, run_id, error)

    async def _settle(self, task_id: str, event: Event) -> None:
        """Write the end of a run, unless its flow does so itself in the time it is given."""
        for pause in (0.0, GRACE.total_seconds()):
            await asyncio.sleep(pause)
            async with self._few_at_once:
                mirrored = None
                with suppress(JobStoreError):
                    mirrored = await self._store.read(task_id)
                if mirrored is None or not mirrored.status.is_final:
                    mirrored = await self._records.rebuild(task_id, mirrored)
                if mirrored.status.is_final:
                    self._metrics.count_end(mirrored)
                    lag = (mirrored.updated_at - event.occurred).total_seconds()
                    self._metrics.mirror_lag.observe(max(0.0, lag))
                    # Whoever closed the record has announced it, too, unless it died in between.
                    await self._runs.announce(mirrored)
                    return


def _is_of_the_pipeline(event: Event) -> bool:
    """Tell whether a task has ended, and not a small flow that answers a question or delivers a webhook."""
    return any(each.role == "flow" and each.name == _FLOW for each in event.related)


async def _hang_up(subscriber: PrefectEventSubscriber) -> None:
    """Close what a subscriber leaves open that is interrupted between connecting and being ready."""
    websocket = subscriber._websocket  # noqa: SLF001  # there is no public way to it
    if websocket is not None:
        websocket.transport.abort()
        # The transport says good-bye in the loop's next round.
        await asyncio.sleep(0)


def _late(stored: TaskRecord | None, event: Event) -> TaskRecord | None:
    if stored is None or stored.status is not Status.PENDING:
        return stored
    return record_changes.noted(
        stored, details={"late_since": f"{event.occurred:%Y-%m-%dT%H:%M:%SZ}"}, now=event.occurred
    )
