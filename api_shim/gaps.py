"""Endpoints at which a request would only wait in vain: known from what flows found there, never from a probe."""

from contextlib import suppress
from typing import Final

from api_shim.settings import ShimSettings
from blocks.endpoint_health import EndpointState
from blocks.job_store import JobStore, JobStoreError
from blocks.key_refusal import is_key_refused
from flows.request import PipelineRequest
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Stage

_NAMES: Final = {Stage.WAV2LIP: "RUNPOD_WAV2LIP_ENDPOINT", Stage.FACEFUSION: "RUNPOD_FACEFUSION_ENDPOINT"}


async def check_endpoints(request: PipelineRequest, store: JobStore, settings: ShimSettings) -> None:
    """Refuse what cannot be worked on now. An outage that passes is no reason: the request is accepted and queued.

    Without Redis nobody knows, and the flow finds out.

    Raises:
        FaultError: RUNPOD_KEY_REFUSED or RUNPOD_NO_WORKERS, as a flow found it in the last two minutes.
    """
    endpoints = {
        Stage.WAV2LIP: settings.runpod_wav2lip_endpoint,
        Stage.FACEFUSION: settings.runpod_facefusion_endpoint,
    }
    with suppress(JobStoreError):
        if await is_key_refused(store):
            raise FaultError(FaultCode.RUNPOD_KEY_REFUSED)
        for stage in request.gpu_stages:
            endpoint_id = endpoints[stage]
            reading = await store.endpoint_health(endpoint_id) if endpoint_id else None
            if reading is not None and reading.state is EndpointState.NO_WORKERS:
                raise FaultError(FaultCode.RUNPOD_NO_WORKERS, f"It is the one of {_NAMES[stage]}.")
