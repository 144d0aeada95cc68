"""The run that must begin alone: workers have died while it was at work, so it may be what kills them."""

import asyncio
import logging
from collections.abc import Callable
from uuid import UUID

from prefect.client.schemas.objects import FlowRun

from blocks.leases import LeaseError, Leases
from flows.orphans import Past

# What kills its worker does so in its first moments: loading, decoding, running out of memory.
_TRIAL_SECONDS = 3.0

_logger = logging.getLogger(__name__)


class Trial:
    """At most one run on trial in this worker, and through Redis in all workers.

    Args:
        leases: Where the trial is written down.
        ended: Called when the next one may begin.
    """

    def __init__(self, leases: Leases, *, ended: Callable[[], None]) -> None:
        self._leases = leases
        self._ended = ended
        self._run_id: UUID | None = None
        self._ending: asyncio.Future[None] | None = None

    @property
    def is_free(self) -> bool:
        """Tell whether no run of this worker is on trial."""
        return self._run_id is None

    async def admits(self, run: FlowRun) -> bool:
        """Tell whether a run may begin now; one that must begin alone waits until no other does."""
        if not Past.of(run).needs_trial:
            return True
        try:
            if not await self._leases.begin_trial(str(run.id)):
                return False
        except LeaseError:
            # Without Redis there is no reaper that could blame it.
            return True
        self._run_id = run.id
        return True

    def watch(self, run_id: UUID, has_begun: Callable[[], bool]) -> None:
        """End a run's trial some time after it has really begun: on a slow server it may not have done anything yet."""
        if run_id == self._run_id:
            asyncio.get_running_loop().call_later(_TRIAL_SECONDS, self._look, run_id, has_begun)

    def end(self, run_id: UUID) -> None:
        """End a run's trial, if it is on trial."""
        if run_id == self._run_id:
            self._run_id = None
            self._ended()
            # Called by a timer, too, which is no task: Prefect's task group takes none from there.
            self._ending = asyncio.ensure_future(self._write_end(run_id))

    def _look(self, run_id: UUID, has_begun: Callable[[], bool]) -> None:
        if has_begun():
            self.end(run_id)
        else:
            self.watch(run_id, has_begun)

    async def _write_end(self, run_id: UUID) -> None:
        try:
            await self._leases.end_trial(str(run_id))
        except LeaseError:
            _logger.warning("The trial of run %s could not be ended: it ends by itself.", run_id)
