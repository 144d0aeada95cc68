"""What a run asks beside the pixels, before whom and until when, and the clock of one job that follows from it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from blocks.runpod import RunPodEndpoint
from flows.errors import JobError
from flows.following import TimeLimit
from gpu_tasks.contract.faults import FaultCode, FaultError


class Order(BaseModel):
    """`priority`: a higher one goes first. `deadline`: when the result is of no use any more."""

    model_config = ConfigDict(frozen=True)

    priority: int = 0
    deadline: datetime | None = None

    @property
    def left_seconds(self) -> float | None:
        return None if self.deadline is None else (self.deadline - datetime.now(UTC)).total_seconds()


class Clock:
    """Until when one job may be waited for: the endpoint's limit for queue and work, or the run's deadline if sooner.

    Standing in our own line, before RunPod has the job, counts for the deadline only.
    """

    def __init__(self, endpoint: RunPodEndpoint, order: Order) -> None:
        self._endpoint = endpoint
        self._order = order
        self._began = time.monotonic()

    @property
    def limit(self) -> TimeLimit:
        """When the waiting ends, and with which fault."""
        seconds = self._endpoint.job_timeout_seconds
        ends = self._began + seconds
        if (left := self._order.left_seconds) is not None and time.monotonic() + left < ends:
            return TimeLimit(time.monotonic() + left, FaultError(FaultCode.DEADLINE_EXCEEDED).fault)
        sentence = f"The limit is {seconds:g} s in queue and work together."
        return TimeLimit(ends, FaultError(FaultCode.RUNPOD_JOB_TIMEOUT, sentence).fault)

    @property
    def is_patient(self) -> bool:
        """Whether an outage of RunPod is still waited out."""
        return time.monotonic() - self._began < self._endpoint.queue_timeout_seconds

    def check(self, stage: str) -> None:
        """Raises JobError when the time is over."""
        if (limit := self.limit).left_seconds <= 0:
            raise JobError.of(limit.fault, stage=stage)

    @contextmanager
    def standing_in_line(self) -> Iterator[None]:
        """Stop the clock while the block waits for a place."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._began += time.monotonic() - began
