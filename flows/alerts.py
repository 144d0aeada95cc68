"""What Prefect's automations hear of beside the states of runs."""

import time
from typing import Final

from prefect.events import emit_event

# The name that an automation waits for.
STUCK_IN_QUEUE: Final = "lipswap.gpu-job.stuck-in-queue"


def job_is_stuck(endpoint_id: str, job_id: str, task_id: str, *, since: float) -> None:
    """Say that a job waits for a GPU worker longer than the policy's `queue_alert_seconds`.

    Args:
        endpoint_id: Where it waits.
        job_id: RunPod's.
        task_id: The run that waits for it.
        since: When it was first seen waiting, on the monotonic clock.
    """
    emit_event(
        event=STUCK_IN_QUEUE,
        resource={"prefect.resource.id": f"lipswap.endpoint.{endpoint_id}"},
        related=[
            {"prefect.resource.id": f"prefect.flow-run.{task_id}", "prefect.resource.role": "flow-run"},
            {"prefect.resource.id": "prefect.tag.lipswap", "prefect.resource.role": "tag"},
        ],
        payload={"job_id": job_id, "seconds": round(time.monotonic() - since, 1)},
    )
