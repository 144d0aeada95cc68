"""The RunPod handler: takes a job on the event loop, works in a thread, always answers with a JobReply."""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from gpu_tasks import tracing
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.jobs import fingerprint
from gpu_tasks.contract.receipts import JobReply, Progress, Receipt
from gpu_tasks.runtime.cancellation import Cancellation, JobCancelledError
from gpu_tasks.runtime.execution import Execution, Workshop
from gpu_tasks.runtime.faulting import fault_of
from gpu_tasks.runtime.job_log import log_tail, naming_job
from gpu_tasks.runtime.ledger import Ledger
from gpu_tasks.runtime.pipeline import JobT
from gpu_tasks.runtime.progress import ProgressReporter
from gpu_tasks.runtime.reading import read_job

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
SendProgress = Callable[[dict[str, Any], dict[str, Any]], None]


class Handler(Generic[JobT]):
    """Serves the jobs of one stage, one at a time.

    Args:
        workshop: The pipeline and what it works with.
        worker_id: How receipts and markers name this worker.
        send_progress: Takes the SDK's job and the report as JSON.
    """

    def __init__(self, workshop: Workshop[JobT], *, worker_id: str, send_progress: SendProgress) -> None:
        self._workshop: Workshop[JobT] = workshop
        self._worker_id = worker_id
        self._send_progress = send_progress

    async def handle(self, wire: dict[str, Any]) -> dict[str, Any]:
        """Return a JobReply as JSON; a fault is a reply too, so that bad input never looks like a bad worker.

        Raises:
            asyncio.CancelledError: The platform stopped the job. The work has ended and left nothing behind.
        """
        stage = self._workshop.pipeline.stage
        with naming_job(job_id=str(wire.get("id")), stage=stage), log_tail() as tail:
            try:
                receipt = await self._work(wire)
            except (asyncio.CancelledError, JobCancelledError):
                _log.info("cancelled")
                raise
            except Exception as error:  # noqa: BLE001  # the edge: whatever it was, the caller gets a fault
                fault = fault_of(error, stage)
                unforeseen = fault.code is FaultCode.INTERNAL
                _log.warning("failed: %s", fault.code, exc_info=error if unforeseen else None)
                return _reply(tail, fault=fault)
            return _reply(tail, receipt=receipt)

    async def _work(self, wire: dict[str, Any]) -> Receipt:
        job = read_job(wire.get("input") or {}, self._workshop.pipeline)
        with naming_job(task_id=job.task_id, fingerprint=fingerprint(job)):
            cancellation = Cancellation()
            execution = Execution(
                workshop=self._workshop,
                job=job,
                ledger=Ledger(self._workshop.store, job, job_id=wire["id"], worker_id=self._worker_id),
                cancellation=cancellation,
                progress=ProgressReporter(lambda report: self._report(wire, report)),
            )
            with tracing.span(f"{job.stage} job", parent=job.traceparent, task_id=job.task_id, attempt=job.attempt):
                return await _in_thread(execution.perform, cancellation)

    def _report(self, wire: dict[str, Any], report: Progress) -> None:
        self._send_progress(wire, report.model_dump(mode="json"))


async def _in_thread(work: Callable[[], Result], cancellation: Cancellation) -> Result:
    """Run blocking work beside the event loop; when stopped, ask it to end and wait until it has."""
    context = contextvars.copy_context()
    running = asyncio.get_running_loop().run_in_executor(None, lambda: context.run(work))
    stopped: asyncio.CancelledError | None = None
    while not running.done():
        try:
            # `wait` does not cancel what it waits for.
            await asyncio.wait([running])
        except asyncio.CancelledError as stop:
            # The platform repeats its stop until the job is gone; each one ends a wait, not the work.
            stopped = stop
            cancellation.request()
    if stopped is not None:
        # Whatever the thread made of it was for nobody; asking keeps asyncio from calling it forgotten.
        running.exception()
        raise stopped
    return running.result()


def _reply(tail: deque[str], *, receipt: Receipt | None = None, fault: Fault | None = None) -> dict[str, Any]:
    reply = JobReply(receipt=receipt, fault=fault, log_tail=tuple(tail))
    wire = reply.model_dump(mode="json", exclude_none=True)
    if fault is not None and fault.code is FaultCode.OUT_OF_MEMORY:
        # The SDK takes this key for itself: a process that ran out of memory once is replaced.
        wire["refresh_worker"] = True
    return wire
