"""`python -m deployments.deploy`: brings blocks, work pool and deployments of a Prefect server to the settings.

Run again it changes nothing that already is as it should be.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
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
from deployments.fleet.declaration import read_declaration
from deployments.maintenance import flows as maintenance
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

ENDPOINT_HEALTH = "endpoint-health/lipswap"
STUCK_RUNS = "stuck-runs/lipswap"

# Each with its module path, not its file: a file would be imported as a second copy of the module.
FLOWS: dict[str, tuple[Flow[..., Any], str]] = {
    DEPLOYMENT: (pipeline, "flows.pipeline.pipeline"),
    VERIFY_DEPLOYMENT: (verify, "flows.verifying.verify"),
    REPROCESS_DEPLOYMENT: (reprocess, "flows.reprocess.reprocess"),
    DELIVERY_DEPLOYMENT: (deliver_webhook, "flows.delivering.deliver_webhook"),
    FACES_DEPLOYMENT: (faces, "flows.faces.faces"),
    PREVIEW_DEPLOYMENT: (preview, "flows.preview.preview"),
    ESTIMATE_DEPLOYMENT: (estimate, "flows.estimate.estimate"),
    "retention/lipswap": (maintenance.retention, "deployments.maintenance.flows.retention"),
    "orphan-objects/lipswap": (maintenance.orphan_objects, "deployments.maintenance.flows.orphan_objects"),
    STUCK_RUNS: (maintenance.stuck, "deployments.maintenance.flows.stuck"),
    ENDPOINT_HEALTH: (maintenance.endpoint_health, "deployments.maintenance.flows.endpoint_health"),
    "cost-report/lipswap": (maintenance.cost_report, "deployments.maintenance.flows.cost_report"),
}
# In UTC, and at different minutes: an hour's beginning is busy enough.
SCHEDULES: dict[str, str] = {
    "retention/lipswap": "17 3 * * *",
    "orphan-objects/lipswap": "37 3 * * 1",
    STUCK_RUNS: "7,37 * * * *",
    ENDPOINT_HEALTH: "*/15 * * * *",
    "cost-report/lipswap": "47 0 * * *",
}

# These wait for nothing long, and nothing long waits for them. The others of the maintenance read the whole bucket.
QUICK = frozenset(
    {
        *(VERIFY_DEPLOYMENT, FACES_DEPLOYMENT, PREVIEW_DEPLOYMENT, ESTIMATE_DEPLOYMENT, DELIVERY_DEPLOYMENT),
        *(STUCK_RUNS, ENDPOINT_HEALTH),
    }
)

_WORKERS: dict[WorkerType, type[BaseWorker[Any, Any, Any]]] = {
    WorkerType.INPROCESS: InProcessWorker,
    WorkerType.PROCESS: ProcessWorker,
}


async def deploy(
    settings: OrchestratorSettings, signing: SigningSettings, parameters: Mapping[str, Mapping[str, Any]]
) -> None:
    """Register blocks, create the work pool of the chosen type and deploy the flows to it.

    Args:
        settings: What blocks, pool and schedules are made from.
        signing: Whose signature goes under results.
        parameters: What a deployment's scheduled runs are given, by its name.
    """
    async with get_client() as client:
        await registry.register(settings, client=client)
        await _provenance(settings, signing).asave(registry.PROVENANCE, overwrite=True, client=client)
        await _make_pool(client, settings)
        for name in FLOWS:
            await _deploy_flow(client, name, settings, parameters.get(name, {}))
        await deploy_automations(client, settings.alert_url)


async def _deploy_flow(
    client: PrefectClient, name: str, settings: OrchestratorSettings, parameters: Mapping[str, Any]
) -> None:
    flow, entrypoint = FLOWS[name]
    worker_type, schedules = settings.worker_type, await _schedules(client, name, settings)
    await client.create_deployment(
        flow_id=await client.create_flow(flow),
        name=name.partition("/")[2],
        description=flow.description,
        entrypoint=entrypoint,
        work_pool_name=POOLS[worker_type],
        work_queue_name=QUICK_QUEUE if name in QUICK else None,
        parameters=dict(parameters),
        job_variables=_job_variables(worker_type),
        parameter_openapi_schema=parameter_schema(flow).model_dump(),
        # The door has checked the request with the same model; an operator's run is checked by the flow.
        enforce_parameter_schema=False,
        # Of a run that comes late only the next one matters.
        concurrency_limit=1 if name in SCHEDULES and schedules else None,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
        if name in SCHEDULES and schedules
        else None,
        schedules=schedules,
        tags=["lipswap"],
    )


async def _schedules(
    client: PrefectClient, name: str, settings: OrchestratorSettings
) -> list[DeploymentScheduleCreate]:
    """Return when a flow runs by itself; a schedule that an operator has paused stays paused."""
    parameters: dict[str, Any] = {}
    cron = SCHEDULES.get(name) if settings.schedules else None
    if name == REPROCESS_DEPLOYMENT:
        # Unless somebody has decided otherwise, the schedule tells what is stale and spends nothing.
        asked = ReprocessRequest(dry_run=not settings.reprocess_unattended)
        cron, parameters = settings.reprocess_cron, {"asked": asked.model_dump(mode="json")}
    if not cron:
        return []
    try:
        known = (await client.read_deployment_by_name(name)).schedules
    except ObjectNotFound:
        known = []
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=cron, timezone="UTC"),
            active=all(schedule.active for schedule in known),
            parameters=parameters,
            slug=name,
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


async def _make_pool(client: PrefectClient, settings: OrchestratorSettings) -> None:
    name, worker = POOLS[settings.worker_type], _WORKERS[settings.worker_type]
    template = worker.get_default_base_job_template()
    try:
        await client.read_work_pool(name)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=name, type=worker.type, base_job_template=template, concurrency_limit=settings.pool_runs
            )
        )
    else:
        await client.update_work_pool(
            name, WorkPoolUpdate(base_job_template=template, concurrency_limit=settings.pool_runs)
        )


def _job_variables(worker_type: WorkerType) -> dict[str, Any]:
    if worker_type is WorkerType.INPROCESS:
        return {}
    # Without a command the worker copies the working directory for every run; an empty directory costs nothing.
    return {"command": f"{sys.executable} -m prefect.engine", "working_dir": tempfile.gettempdir()}


def parameters_in(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what maintenance compares RunPod with: the declaration that LIPSWAP_FILE names, and no secret.

    Raises:
        DeclarationError: It cannot be used.
    """
    if not environment.get("LIPSWAP_FILE"):
        return {}
    declaration = read_declaration(Path(environment["LIPSWAP_FILE"]))
    named = {name for endpoint in declaration.endpoints.values() for name in endpoint.from_environment}
    given = {name: environment[name] for name in sorted(named) if name in environment}
    return {ENDPOINT_HEALTH: {"declaration": declaration.model_dump(mode="json"), "environment": given}}


def main() -> None:
    """Deploy as the environment says."""
    asyncio.run(deploy(OrchestratorSettings(), SigningSettings(), parameters_in(os.environ)))


if __name__ == "__main__":
    main()
