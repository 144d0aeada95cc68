"""What RunPod calls when a job is over: a reason to look, never believed."""

import hmac
import re
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from api_shim.errors import BODY_STATUSES, responses
from api_shim.services import Provided
from blocks.job_store import JobStore, JobStoreError
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Job, fingerprint

router = APIRouter(tags=["service"])

_JOB: Final[TypeAdapter[Any]] = TypeAdapter(Job)
_DIGEST: Final = r"^[0-9a-f]{64}$"

Fingerprint = Annotated[
    str | None, Query(pattern=_DIGEST, description="Of the job, for bodies that do not repeat its input.")
]


class RunPodCall(BaseModel):
    """The body of RunPod's call: its status of the job, and, as the cloud sends it, the input."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    status: str
    input: Any = None
    output: Any = None


class Heard(BaseModel):
    """That the call has come; what it says is read from RunPod itself."""

    model_config = ConfigDict(frozen=True)

    ok: bool = True


@router.post(
    "/hooks/runpod/{token}",
    responses=responses(*BODY_STATUSES, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def runpod_hook(
    services: Provided, background: BackgroundTasks, token: str, body: RunPodCall, fingerprint: Fingerprint = None
) -> Heard:
    """Wake whoever waits for the job; called twice it wakes twice, which does no harm."""
    expected = services.settings.runpod_hook_token
    if expected is None or not hmac.compare_digest(token.encode(), expected.get_secret_value().encode()):
        # A guess learns nothing, not even that there is such a route.
        raise FaultError(FaultCode.ROUTE_UNKNOWN)
    if (known := fingerprint or fingerprint_in(body)) is not None:
        # After the answer: who is slow to answer is called again.
        background.add_task(_wake, services.store, known)
    return Heard()


def fingerprint_in(call: RunPodCall) -> str | None:
    """Return the fingerprint of the job that a call is about, None when it does not say."""
    job = call.input.get("job") if isinstance(call.input, dict) else None
    if job is not None:
        try:
            return fingerprint(_JOB.validate_python(job))
        except ValidationError:
            return None
    receipt = call.output.get("receipt") if isinstance(call.output, dict) else None
    told = receipt.get("fingerprint") if isinstance(receipt, dict) else None
    return told if isinstance(told, str) and re.fullmatch(_DIGEST, told) else None


async def _wake(store: JobStore, known: str) -> None:
    try:
        await store.wake(known)
    except JobStoreError:
        # Without Redis the waiter looks by itself after a while.
        return
