"""`python -m deployments.deploy`: brings blocks, work pool and deployments of a Prefect server to the settings.

Run again it changes nothing that already is as it should be.
"""

import asyncio
import sys
import tempfile
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessWorker

from blocks import registry
from blocks.deliveries import DELIVERY_DEPLOYMENT
from blocks.provenance import ProvenancePolicy
from blocks.settings import OrchestratorSettings, WorkerType
from deployments.automations import deploy_automations
from flows.delivering import deliver_webhook
from flows.estimate import estimate
from flows.faces import faces
from flows.inprocess_worker import InProcessWorker
from flows.pipeline import pipeline
from flows.pools import POOLS, QUICK_QUEUE
from flows.preview import preview
from flows.reprocess import REPROCESS_DEPLOYMENT, ReprocessRequest, reprocess
from flows.request import (
    DEPLOYMENT,
    ESTIMATE_DEPLOYMENT,
    FACES_DEPLOYMENT,
    PREVIEW_DEPLOYMENT,
    VERIFY_DEPLOYMENT,
)
from flows.verifying import verify
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.settings import SigningSettings

# Each with its module path, not its file: a file would be imported as a second copy of the module.
_FLOWS: dict[str, tuple[Flow[..., Any], str]] = {
    DEPLOYMENT: (pipeline, "flows.pipeline.pipeline"),
    VERIFY_DEPLOYMENT: (verify, "flows.verifying.verify"),
    REPROCESS_DEPLOYMENT: (reprocess, "flows.reprocess.reprocess"),
    DELIVERY_DEPLOYMENT: (deliver_webhook, "flows.delivering.deliver_webhook"),
    FACES_DEPLOYMENT: (faces, "flows.faces.faces"),
    PREVIEW_DEPLOYMENT: (preview, "flows.preview.preview"),
    ESTIMATE_DEPLOYMENT: (estimate, "flows.estimate.estimate"),
}

# These do not wait behind whole videos.
_QUICK = frozenset(_FLOWS) - {DEPLOYMENT}

_WORKERS: dict[WorkerType, type[BaseWorker[Any, Any, Any]]] = {
    WorkerType.INPROCESS: InProcessWorker,
    WorkerType.PROCESS: ProcessWorker,
}


async def deploy(settings: OrchestratorSettings, signing: SigningSettings) -> None:
    """Register blocks, create the work pool of the chosen type and deploy the flows to it."""
    async with get_client() as client:
        await registry.register(settings, client=client)
        await _provenance(settings, signing).asave(registry.PROVENANCE, overwrite=True, client=client)
        await _make_pool(client, settings.worker_type)
        for name in _FLOWS:
            await _deploy_flow(client, name, settings)
        await deploy_automations(client, settings.alert_url)


async def _deploy_flow(client: PrefectClient, name: str, settings: OrchestratorSettings) -> None:
    flow, entrypoint = _FLOWS[name]
    worker_type = settings.worker_type
    await client.create_deployment(
        flow_id=await client.create_flow(flow),
        name=name.partition("/")[2],
        description=flow.description,
        entrypoint=entrypoint,
        work_pool_name=POOLS[worker_type],
        work_queue_name=QUICK_QUEUE if name in _QUICK else None,
        job_variables=_job_variables(worker_type),
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
        # The door has checked the request with the same model; an operator's run is checked by the flow.
        enforce_parameter_schema=False,
        tags=["lipswap"],
        schedules=await _schedules(client, name, settings),
    )


async def _schedules(
    client: PrefectClient, name: str, settings: OrchestratorSettings
) -> list[DeploymentScheduleCreate]:
    """Return when a flow runs by itself; a schedule that an operator has paused stays paused."""
    if name != REPROCESS_DEPLOYMENT or not settings.reprocess_cron:
        return []
    try:
        known = (await client.read_deployment_by_name(name)).schedules
    except ObjectNotFound:
        known = []
    # Unless somebody has decided otherwise, the schedule tells what is stale and spends nothing.
    asked = ReprocessRequest(dry_run=not settings.reprocess_unattended)
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=settings.reprocess_cron, timezone="UTC"),
            active=all(schedule.active for schedule in known),
            parameters={"asked": asked.model_dump(mode="json")},
            slug="reprocess",
        )
    ]


def _provenance(settings: OrchestratorSettings, signing: SigningSettings) -> ProvenancePolicy:
    """Return the block; a chain that cannot be used is refused here, not by the first run that has to sign.

    Raises:
        SigningSettingsError: A certificate or key is missing or does not fit.
    """
    load_signatory(signing)
    named = {name: path and str(path.absolute()) for name, path in signing.model_dump(exclude={"tsa_url"}).items()}
    return ProvenancePolicy(consent=settings.consent_policy, tsa_url=signing.tsa_url, **named)


async def _make_pool(client: PrefectClient, worker_type: WorkerType) -> None:
    name, worker = POOLS[worker_type], _WORKERS[worker_type]
    template = worker.get_default_base_job_template()
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=name, type=worker.type, base_job_template=template))
    else:
        await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def _job_variables(worker_type: WorkerType) -> dict[str, Any]:
    if worker_type is WorkerType.INPROCESS:
        return {}
    # Without a command the worker copies the working directory for every run; an empty directory costs nothing.
    return {"command": f"{sys.executable} -m prefect.engine", "working_dir": tempfile.gettempdir()}


def main() -> None:
    """Deploy as the environment says."""
    asyncio.run(deploy(OrchestratorSettings(), SigningSettings()))


if __name__ == "__main__":
    main()
