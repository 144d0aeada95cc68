"""Small flows that answer a question: what they find is left with their run, and the asker is woken."""

from collections.abc import Awaitable
from contextlib import suppress

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run
from pydantic import BaseModel

from blocks import registry
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.answers import ANSWER_ARTIFACT, Answer
from gpu_tasks.contract.faults import FaultCode, FaultError


async def answer_with(work: Awaitable[BaseModel]) -> None:
    """Wait for the work and leave its value, or its fault, as the answer of the current flow run.

    Raises:
        FaultError: The work did; its asker has been told.
        Exception: The same; the log has the traceback, the asker gets a sentence.
    """
    try:
        found = await work
    except FaultError as error:
        await _leave(Answer(fault=error.fault))
        raise
    except Exception:
        await _leave(Answer(fault=FaultError(FaultCode.INTERNAL).fault))
        raise
    await _leave(Answer(value=found.model_dump(mode="json")))


async def _leave(answer: Answer) -> None:
    async with get_client() as client:
        artifact = ArtifactCreate(type=ANSWER_ARTIFACT, data=answer.model_dump_json(), flow_run_id=flow_run.id)
        await client.create_artifact(artifact)
    jobs: JobStore = await JobStore.aload(registry.JOBS)
    # Without Redis the asker looks by itself after a while.
    with suppress(JobStoreError):
        await jobs.wake(str(flow_run.id))
