"""The parts of a run's footage on their ways through the GPU stages: side by side, none waits for another.

Footage that is not cut is one part, on the one way there is.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from flows.errors import PipelineError
from flows.remote import JobDone
from flows.retrying import is_worth_another_attempt
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Stage

R = TypeVar("R")


class Part(BaseModel):
    """What the GPU stages made of one part; at least one of them was asked for."""

    model_config = ConfigDict(frozen=True)

    synced: JobDone | None = None
    swapped: JobDone | None = None

    @property
    def last(self) -> JobDone:
        """What becomes the result."""
        last = self.swapped or self.synced
        if last is None:
            raise ValueError("a part that no stage has worked on")
        return last

    @property
    def done(self) -> tuple[JobDone, ...]:
        """The results of the stages, in order."""
        return tuple(done for done in (self.synced, self.swapped) if done is not None)


class Lanes:
    """How many parts of one run are at an endpoint at once, and what happens to the others when one fails for good."""

    def __init__(self, at_once: int) -> None:
        self._slots = {stage: asyncio.Semaphore(at_once) for stage in (Stage.WAV2LIP, Stage.FACEFUSION)}
        self._is_closed = False

    @asynccontextmanager
    async def admitted(self, stage: Stage) -> AsyncIterator[None]:
        """Wait until there is room for one more part at a stage.

        Raises:
            PipelineError: CANCELLED when another part has failed meanwhile: the run cannot end well any more.
        """
        async with self._slots[stage]:
            if self._is_closed:
                raise PipelineError(FaultCode.CANCELLED, "Another segment has failed.", stage=stage)
            yield

    async def side_by_side(self, ways: Sequence[Coroutine[Any, Any, R]]) -> list[R]:
        """Let all parts go their ways and return what came out, in order.

        When one fails nothing new is submitted. If the same request may succeed later, jobs that are at work already
        end and leave their receipts, so that only what is missing is paid then; if it cannot, they are cancelled.

        Raises:
            BaseException: What the first one failed with, once no job is left.
        """
        if len(ways) == 1:
            return [await ways[0]]
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if pending:
                self._is_closed = True
                if not _may_succeed_later(next(filter(None, (task.exception() for task in done)))):
                    _cancel(pending)
                await asyncio.wait(pending)
            failed = next((error for task in done if (error := task.exception()) is not None), None)
            if failed is not None:
                raise failed
            return [task.result() for task in tasks]
        finally:
            # Only when this run itself is cancelled or handed back is one still at work.
            _cancel(tasks)
            await asyncio.wait(tasks)


def _may_succeed_later(error: BaseException) -> bool:
    return isinstance(error, FaultError) and is_worth_another_attempt(error.fault.code)


def _cancel(tasks: Sequence[asyncio.Task[Any]] | set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
