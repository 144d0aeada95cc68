"""Hears of runs that are due or cancelled the moment Prefect knows; what is missed is found by the regular poll."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

_CANCELLING = "prefect.flow-run.Cancelling"
# A run that waits for a retry is due like a scheduled one.
_DUE = ("prefect.flow-run.Scheduled", "prefect.flow-run.AwaitingRetry")
_RECONNECT_SECONDS = 1.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ear:
    """Listens for one work pool.

    Attributes:
        pool_id: Whose runs.
        due: Called when a run is due, and whenever events may have been missed.
        cancelling: Called with a run that somebody cancels.
    """

    pool_id: UUID
    due: Callable[[], None]
    cancelling: Callable[[UUID], object]

    async def listen(self) -> None:
        """Listen until cancelled, connecting again when the stream breaks off."""
        while True:
            try:
                async with get_events_subscriber(filter=self._filter()) as events:
                    self.due()
                    async for event in events:
                        self._hear(event)
            except Exception as error:  # noqa: BLE001  # whatever breaks the stream, polling goes on meanwhile
                _logger.warning("The event stream broke off (%s); connecting again.", type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _filter(self) -> EventFilter:
        return EventFilter(
            event=EventNameFilter(name=[*_DUE, _CANCELLING]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{self.pool_id}"]),
        )

    def _hear(self, event: Event) -> None:
        if event.event == _CANCELLING:
            self.cancelling(UUID(event.resource.id.rpartition(".")[2]))
        else:
            self.due()
