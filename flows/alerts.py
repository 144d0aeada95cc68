"""What Prefect's automations hear of beside the states of runs."""

import time
from typing import Final

from prefect.events import emit_event

from blocks.runpod_client import JobStatus
from flows.following import JobNews
from gpu_tasks.contract.jobs import Stage

# The name that an automation waits for.
STUCK_IN_QUEUE: Final = "lipswap.gpu-job.stuck-in-queue"


class QueueWatch:
    """Tells Prefect's automations, once per stage of a run, that a job waits too long for a GPU worker.

    Args:
        task_id: The run.
        seconds: How long is too long: the policy's `queue_alert_seconds`.
    """

    def __init__(self, task_id: str, seconds: float) -> None:
        self._task_id = task_id
        self._seconds = seconds
        self._queued_since: dict[Stage, float] = {}
        self._stuck: set[Stage] = set()

    def hear(self, stage: Stage, news: JobNews) -> None:
        """Take in how a job of a stage stands."""
        if news.status is not JobStatus.IN_QUEUE:
            self._queued_since.pop(stage, None)
            return
        waited = time.monotonic() - self._queued_since.setdefault(stage, time.monotonic())
        if stage not in self._stuck and waited > self._seconds:
            self._stuck.add(stage)
            self._tell(news, waited)

    def _tell(self, news: JobNews, waited: float) -> None:
        emit_event(
            event=STUCK_IN_QUEUE,
            resource={"prefect.resource.id": f"lipswap.endpoint.{news.claim.endpoint_id}"},
            related=[
                {"prefect.resource.id": f"prefect.flow-run.{self._task_id}", "prefect.resource.role": "flow-run"},
                {"prefect.resource.id": "prefect.tag.lipswap", "prefect.resource.role": "tag"},
            ],
            payload={"job_id": news.job_id, "seconds": round(waited, 1)},
        )
