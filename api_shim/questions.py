"""Questions that a small flow answers: asked, waited for, answered by push."""

import time
from contextlib import suppress
from typing import TypeVar

from pydantic import BaseModel

from api_shim.runs import Runs, RunsError
from blocks.job_store import JobStore
from gpu_tasks.contract.faults import FaultCode, FaultError

Model = TypeVar("Model", bound=BaseModel)

# Only for a wake-up that was lost with its connection, or a Redis that is away.
_LOOK_SECONDS = 3.0


class Questions:
    """Asks small flows; the caller waits at the door until the answer is there."""

    def __init__(self, runs: Runs, store: JobStore) -> None:
        self._runs = runs
        self._store = store

    async def ask(self, deployment: str, asked: BaseModel, kind: type[Model], *, seconds: float) -> Model:
        """Start a small flow and return what it answers.

        Args:
            deployment: Flow name and deployment name.
            asked: The flow's parameter.
            kind: What the flow finds.
            seconds: How long the caller waits.

        Raises:
            FaultError: The flow's own; DEADLINE_EXCEEDED when there is no answer in time; ORCHESTRATOR_UNAVAILABLE,
                also when the flow crashed.
        """
        deadline = time.monotonic() + seconds
        run = await self._runs.ask(deployment, asked)
        async with self._store.woken(str(run.id)) as waker:
            while (answer := await self._runs.answer(run.id)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    with suppress(RunsError):
                        await self._runs.withdraw(run.id)
                    raise FaultError(FaultCode.DEADLINE_EXCEEDED, "Nobody answered in time; try again later.")
                await waker.wait(min(left, _LOOK_SECONDS))
        if answer.fault is not None:
            raise FaultError.told(answer.fault)
        return kind.model_validate(answer.value)
