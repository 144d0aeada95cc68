"""The moments between the steps of a run: a process that dies there leaves the bucket and Prefect in this state."""

from enum import StrEnum
from typing import Any


class Boundary(StrEnum):
    """Named for what has just been done."""

    BEGUN = "the record has begun"
    INGESTED = "the inputs are taken in"
    CLAIMED = "the intent to submit is written"
    SUBMITTED = "RunPod has the job, nobody wrote down its id"
    NAMED = "the job's id is written"
    DONE = "the receipt is read, the task's result not yet kept"
    SETTLED = "the lip-sync is in the record"
    ASSEMBLED = "the result is put together"
    SIGNED = "the result is under its final key"
    RECORDED = "the record is final, Prefect's state is not"

    @property
    def is_awaited(self) -> bool:
        """Tell whether what stands there is a coroutine function."""
        return self not in {Boundary.CLAIMED, Boundary.NAMED, Boundary.ASSEMBLED}


def place_of(boundary: Boundary) -> tuple[Any, str]:
    """Return whose method has just returned at a boundary."""
    from blocks.runpod_client import RunPodClient  # noqa: PLC0415  # the same
    from flows import tasks  # noqa: PLC0415  # Prefect is not for the processes of the CPU pool
    from flows.auditing import RunAudit  # noqa: PLC0415  # the same
    from flows.ledger import JobLedger  # noqa: PLC0415  # the same
    from flows.recording import RunRecord  # noqa: PLC0415  # the same
    from flows.remote import RemoteJob  # noqa: PLC0415  # the same
    from flows.run import Run  # noqa: PLC0415  # the same

    return {
        Boundary.BEGUN: (RunRecord, "begin"),
        Boundary.INGESTED: (RunAudit, "accept"),
        Boundary.CLAIMED: (JobLedger, "claim"),
        Boundary.SUBMITTED: (RunPodClient, "submit"),
        Boundary.NAMED: (JobLedger, "submitted"),
        Boundary.DONE: (RemoteJob, "run"),
        Boundary.SETTLED: (Run, "settle"),
        Boundary.ASSEMBLED: (tasks, "leaving"),
        Boundary.SIGNED: (RunAudit, "sign"),
        Boundary.RECORDED: (Run, "complete"),
    }[boundary]
