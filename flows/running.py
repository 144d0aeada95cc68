"""The runs at work in one process: begun, interrupted, and seen through to an end that the server knows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.exceptions import Abort, Pause

from flows.inprocess_engine import Ending, InProcessEngine

_logger = logging.getLogger(__name__)


class _AtWork(NamedTuple):
    task: asyncio.Task[None]
    engine: InProcessEngine


class Runs:
    """Each run is one task of the event loop.

    Args:
        tell: Tells the server a state that the engine of a run could not; False when nobody can be told.
        ended: Called for a run that has ended here, and whether the server knows how it stands.
    """

    def __init__(
        self,
        *,
        tell: Callable[[InProcessEngine, State[None]], Awaitable[bool]],
        ended: Callable[[UUID, bool], Awaitable[None]],
    ) -> None:
        self._tell = tell
        self._ended = ended
        self._at_work: dict[UUID, _AtWork] = {}
        self._are_handed_back = False

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._at_work

    def ids(self) -> list[UUID]:
        """Return which runs are at work now."""
        return list(self._at_work)

    def begin(self, run_id: UUID, engine: InProcessEngine, *, name: str) -> None:
        """Let a run's engine work; one that begins while all are handed back is handed back, too."""
        task = asyncio.create_task(self._see_through(run_id, engine), name=name)
        self._at_work[run_id] = _AtWork(task, engine)
        if self._are_handed_back:
            self.interrupt(run_id, Ending.HANDED_BACK)

    def interrupt(self, run_id: UUID, ending: Ending) -> bool:
        """End a run for a reason, unless it is being ended for another; False when it is not here, or is over."""
        if run_id not in self._at_work:
            return False
        at_work = self._at_work[run_id]
        if at_work.engine.ending is None:
            at_work.engine.interrupt(ending)
            # After its first step: a task that is cancelled before has no end to tell of.
            asyncio.get_running_loop().call_soon(self._cancel, run_id, at_work.task)
        return True

    def _cancel(self, run_id: UUID, task: asyncio.Task[None]) -> None:
        # Not what is done after a run's end, which it may have come to in this very moment.
        if run_id in self._at_work and self._at_work[run_id].task is task:
            task.cancel()

    def hand_back(self) -> None:
        """Begin to give all runs to other workers, and those that begin from now on."""
        self._are_handed_back = True
        for run_id in self.ids():
            self.interrupt(run_id, Ending.HANDED_BACK)

    async def _see_through(self, run_id: UUID, engine: InProcessEngine) -> None:
        state: State[None] | None = None
        try:
            await engine.work()
        except BaseException as error:  # Prefect's signals are no exceptions; a run ends, however it does
            state = engine.untold(error)
            if not isinstance(error, Abort | Pause | asyncio.CancelledError):
                _logger.exception("The engine of run %s ended without saying how.", run_id)
        finally:
            del self._at_work[run_id]
        is_told = False
        try:
            is_told = state is None or await self._tell(engine, state)
        finally:
            await self._ended(run_id, is_told)
