"""Maintenance as scheduled deployments: each looks, leaves a table in Prefect, and changes what it is told.

They run on the orchestrator like every other run; a finding that somebody must act on fails the run, which is what
Prefect's automations and the alerts in docs/runbooks.md stand on.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling
from pydantic import SecretStr

from blocks import registry
from blocks.endpoint_health import FAULTS, state_of
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from deployments.fleet.account import REST_BASE, Account
from deployments.fleet.declaration import Declaration
from deployments.fleet.planning import plan
from deployments.fleet.wanted import wanted
from deployments.maintenance.judging import cost_rows, keys_in_use, lowered_endpoints, stuck_runs
from deployments.maintenance.reading import final_records, runs_that_ended_before, unfinished_runs
from flows.errors import PipelineError
from gpu_tasks.contract.artifacts import OUTPUTS, UPLOADS
from gpu_tasks.contract.faults import FaultCode

_SHOWN: Final = 200


@flow(name="retention", persist_result=False)
async def retention(days: int = 30) -> int:
    """Delete runs that ended more than `days` ago, with their records and logs; return how many.

    The bucket forgets by its own lifecycle. `days` is also how far back the history and `lipswap ledger --task` reach.
    """
    before, deleted = datetime.now(UTC) - timedelta(days=days), 0
    async with get_client() as client:
        while runs := await runs_that_ended_before(client, before):
            for run in runs:
                deleted += await _delete(client, run.id)
    get_run_logger().info("%d runs that ended before %s were deleted", deleted, f"{before:%Y-%m-%d}")
    return deleted


@flow(name="orphan-objects", persist_result=False)
async def orphan_objects(min_days: int = 8, *, delete: bool = False) -> int:
    """List uploads and outputs that no record names and that are older than `min_days`; return how many there are.

    Without `delete` they are only told: an output may be in use by somebody who keeps keys and no records.
    """
    async with get_client() as client:
        used = keys_in_use([record async for record in final_records(client)])
        # A run that has no final record yet names its inputs in its parameters.
        async for run in unfinished_runs(client):
            used |= frozenset(_parameter_keys(run.parameters))
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    orphans = await asyncio.to_thread(_orphans, media, used, min_days)
    await _table("orphan-objects", [{"key": key} for key in orphans])
    if delete:
        store = media.store()
        for key in orphans:
            await asyncio.to_thread(store.delete, key)
    get_run_logger().info("%d objects that no record names%s", len(orphans), ", deleted" if delete else "")
    return len(orphans)


@flow(name="stuck-runs", persist_result=False)
async def stuck(hours: float = 6.0, *, cancel: bool = False) -> None:
    """Find runs that have been in one state for longer than `hours`; with `cancel` they are cancelled.

    Raises:
        PipelineError: There are some; the table names them.
    """
    now = datetime.now(UTC)
    async with get_client() as client:
        seen = [
            (str(run.id), run.state_name or "", run.state.timestamp)
            async for run in unfinished_runs(client)
            if run.state is not None
        ]
        found = stuck_runs(seen, now=now, hours=hours)
        if cancel:
            for one in found:
                await client.set_flow_run_state(UUID(one.task_id), Cancelling())
    await _table("stuck-runs", [one.model_dump(mode="json") for one in found])
    if found:
        raise PipelineError(FaultCode.DEADLINE_EXCEEDED, f"{len(found)} runs are stuck for more than {hours:g} h.")


@flow(name="endpoint-health", persist_result=False)
async def endpoint_health(
    declaration: Declaration | None = None, environment: dict[str, str] | None = None, rest_base: str = REST_BASE
) -> None:
    """Look at the workers of both endpoints and, with the declaration, at what RunPod has lowered while they were idle.

    Args:
        declaration: What should be there; without it only the health of the endpoints is looked at.
        environment: The variables that `from_environment` names; no secret is among them.
        rest_base: Where RunPod's REST API is.

    Raises:
        PipelineError: An endpoint cannot serve, or would serve with fewer workers than declared.
    """
    rows, wrong = [], []
    for stage, block in registry.ENDPOINTS.items():
        endpoint: RunPodEndpoint = await RunPodEndpoint.aload(block)
        if not endpoint.is_configured:
            continue
        health = await endpoint.client().health(endpoint.endpoint_id)
        state = state_of(health)
        rows.append({"endpoint": endpoint.endpoint_id, "stage": stage, "state": state, **health.workers})
        if FAULTS[state] is not None:
            wrong.append(f"{stage} is {state}")
        key = endpoint.api_key
    if declaration is not None and rows:
        lowered = await asyncio.to_thread(_lowered, declaration, environment or {}, key, rest_base)
        wrong += [f"RunPod has lowered the workers of {name}; `lipswap deploy apply` restores them" for name in lowered]
    await _table("endpoint-health", rows)
    if wrong:
        raise PipelineError(FaultCode.RUNPOD_NO_WORKERS, f"{'; '.join(wrong)}.")


@flow(name="cost-report", persist_result=False)
async def cost_report(days: int = 31) -> int:
    """Leave a table of what the runs of the last `days` have cost, by day and label; return the number of its rows."""
    async with get_client() as client:
        since = datetime.now(UTC) - timedelta(days=days)
        rows = cost_rows([record async for record in final_records(client, since=since)])
    await _table("cost-report", [row.model_dump(mode="json") for row in rows])
    return len(rows)


async def _delete(client: PrefectClient, run_id: UUID) -> int:
    try:
        await client.delete_flow_run(run_id)
    except ObjectNotFound:  # another sweep was faster
        return 0
    return 1


def _orphans(media: R2Bucket, used: frozenset[str], min_days: int) -> list[str]:
    store = media.store()
    young = datetime.now(UTC) - timedelta(days=min_days)
    fresh = {key for prefix in (UPLOADS, OUTPUTS) for key in store.keys(prefix, since=young)}
    return [key for prefix in (UPLOADS, OUTPUTS) for key in store.keys(prefix) if key not in used | fresh]


def _parameter_keys(parameters: dict[str, Any]) -> list[str]:
    request = parameters.get("request") or {}
    named = [request.get(name) for name in ("audio_key", "target_key", "output_key", "wav2lip_output_key")]
    return [key for key in (*named, *request.get("source_keys", ())) if key]


def _lowered(declaration: Declaration, environment: dict[str, str], key: SecretStr, rest_base: str) -> tuple[str, ...]:
    with Account(key, rest_base) as account:
        found, resources = account.found(), account.dialect.as_told(wanted(declaration, environment))
    return lowered_endpoints(plan(resources, found, declaration.prefix))


async def _table(key: str, rows: list[dict[str, Any]]) -> None:
    await acreate_table_artifact(table=rows[:_SHOWN], key=f"lipswap-{key}", description=f"{len(rows)} rows")
