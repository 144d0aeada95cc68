"""Outputs made anew: a canary first, then the rest, each under a key of its own until somebody accepts it.

A batch is an object in the bucket, written after every step: a flow that died or was paused goes on where it was.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field

from blocks import registry
from blocks.policy import PipelinePolicy
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from blocks.tags import OURS
from flows import batches
from flows.failed_runs import failed_items
from flows.reprocessing import FAILED, candidate_request, check_selection, chosen, lineages, planned, worse
from flows.request import DEPLOYMENT
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.lineage import Batch, BatchState, Item, ItemState, Lineage, lineage_key
from gpu_tasks.storage import ArtifactStore

REPROCESS_DEPLOYMENT: Final = "reprocess/lipswap"
_LOOK_SECONDS: Final = 1.0


class ReprocessRequest(BaseModel):
    """What is made anew.

    Attributes:
        only: `stale`, `failed` or `label=name:value`.
        dry_run: Only tell what, and what it would cost.
        batch: Go on with this one, or begin one of this name; None: named by what is chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    only: str = "stale"
    dry_run: bool = True
    batch: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")


@flow(name="reprocess", flow_run_name="reprocess {asked.only}", persist_result=False)
async def reprocess(asked: ReprocessRequest) -> None:
    """Make outputs anew that are stale, have failed or carry a label; or tell what that would cost."""
    media, policy = await asyncio.gather(R2Bucket.aload(registry.MEDIA), PipelinePolicy.aload(registry.POLICY))
    store = media.store()
    async with get_client() as client:
        batch = await plan(store, client, policy, asked)
        if not asked.dry_run:
            batch = await Work(store, client, batch).done()
        artifact = ArtifactCreate(type="markdown", data=told_of(batch, asked), flow_run_id=UUID(str(flow_run.id)))
        await client.create_artifact(artifact)


async def plan(store: ArtifactStore, client: PrefectClient, policy: PipelinePolicy, asked: ReprocessRequest) -> Batch:
    """Return the batch that a request means: the one that there is, else a new one, which is not written yet.

    Raises:
        FaultError: REQUEST_INVALID for an unknown selection, ENGINE_UNAVAILABLE.
        StorageError: The bucket is away.
    """
    check_selection(asked.only)
    if asked.batch and (known := await asyncio.to_thread(batches.known, store, asked.batch)) is not None:
        return known
    if asked.only == FAILED:
        items: Sequence[Item] = await failed_items(client)
    else:
        prices = await _prices(client)
        items = await asyncio.to_thread(lambda: list(chosen(lineages(store), asked.only, policy, prices)))
    batch = planned(items, asked.only, policy, name=asked.batch)
    return await asyncio.to_thread(batches.known, store, batch.name) or batch


async def _prices(client: PrefectClient) -> dict[Stage, float | None]:
    """Return what a second costs at each endpoint; read as data, because loading a block sends an event."""
    prices: dict[Stage, float | None] = {}
    for stage, name in registry.ENDPOINTS.items():
        document = await client.read_block_document_by_name(name, RunPodEndpoint.get_block_type_slug())
        prices[stage] = RunPodEndpoint.model_validate(document.data).price(is_needed=False)
    return prices


class Work:
    """One batch at work; one flow run at a time works on a batch."""

    def __init__(self, store: ArtifactStore, client: PrefectClient, batch: Batch) -> None:
        self._store = store
        self._client = client
        self._batch = batch
        self._items = {item.task_id: item for item in batch.items}
        self._writing = asyncio.Lock()

    async def done(self) -> Batch:
        """Work until the batch is done, held by its canary, or paused."""
        await self._say(BatchState.RUNNING)
        canary = (await self._policy()).reprocessing.canary
        ids = tuple(self._items)
        for some in (ids[:canary], ids[canary:]):
            if not await self._all_of(some):
                return await self._say(BatchState.PAUSED)
            bad = [self._items[task_id] for task_id in ids[:canary]]
            if any(item.state in {ItemState.WORSE, ItemState.FAILED} for item in bad) and ids[canary:]:
                return await self._say(BatchState.HELD)
        return await self._say(BatchState.DONE)

    async def _all_of(self, task_ids: Sequence[str]) -> bool:
        """Make these; False when the policy was paused meanwhile."""
        slots = asyncio.Semaphore((await self._policy()).reprocessing.at_once)

        async def one(task_id: str) -> bool:
            async with slots:
                if self._items[task_id].state.is_settled:
                    return True
                # Looked at before each: an operator pauses by editing the block.
                if (await self._policy()).reprocessing.paused:
                    return False
                await self._make(self._items[task_id])
                return True

        return all(await asyncio.gather(*(one(task_id) for task_id in task_ids)))

    async def _make(self, item: Item) -> None:
        deployment = await self._client.read_deployment_by_name(DEPLOYMENT)
        consent = {"id": item.consent_id, "entry": item.consent_entry} if item.consent_entry else None
        run = await self._client.create_flow_run_from_deployment(
            deployment.id,
            parameters={
                "request": candidate_request(self._batch.name, item).model_dump(mode="json", exclude={"consent"}),
                "consent": consent,
            },
            tags=[OURS, "lipswap.reprocess"],
            # Asked again after a death of this flow, Prefect returns the run that there is.
            idempotency_key=f"reprocess/{self._batch.name}/{item.task_id}",
        )
        await self._note(item.model_copy(update={"state": ItemState.RUNNING, "run_id": str(run.id)}))
        while run.state is None or not run.state.is_final():
            await asyncio.sleep(_LOOK_SECONDS)
            run = await self._client.read_flow_run(run.id)
        await self._note(await asyncio.to_thread(self._judged, self._items[item.task_id]))

    def _judged(self, item: Item) -> Item:
        """Compare what came out with what it is to replace."""
        old = self._store.read_json(lineage_key(item.task_id), Lineage)
        new = self._store.read_json(lineage_key(item.run_id or ""), Lineage)
        if new is None:
            return item.model_copy(update={"state": ItemState.FAILED, "findings": ("its run gave no output",)})
        if old is not None and old.inputs != new.inputs:
            found = ("an upload was overwritten since: it is made of something else",)
            return item.model_copy(update={"state": ItemState.FAILED, "findings": found})
        findings = worse(old.quality if old else None, new.quality)
        state = ItemState.WORSE if findings else ItemState.WAITING
        return item.model_copy(update={"state": state, "findings": findings})

    async def _note(self, item: Item) -> None:
        self._items[item.task_id] = item
        await self._say(self._batch.state)

    async def _say(self, state: BatchState) -> Batch:
        def change(stored: Batch) -> Batch:
            # Somebody may have accepted or rejected some while others are still computed.
            self._items.update({item.task_id: item for item in stored.items if item.state.is_decided})
            return self._batch.model_copy(update={"state": state, "items": tuple(self._items.values())})

        async with self._writing:
            self._batch = await asyncio.to_thread(batches.change, self._store, self._batch, change)
        return self._batch

    async def _policy(self) -> PipelinePolicy:
        policy: PipelinePolicy = await PipelinePolicy.aload(registry.POLICY)
        return policy


def told_of(batch: Batch, asked: ReprocessRequest) -> str:
    """Return a batch as a page of Markdown."""
    head = "Would be made anew" if asked.dry_run else f"Batch {batch.name}: {batch.state}"
    lines = [
        f"# {head}",
        "",
        f"{len(batch.items)} outputs ({batch.only}), about {batch.gpu_seconds:.1f} GPU seconds, {_dollars(batch.usd)}.",
        f"{batch.left_out} more are beyond the bounds of the policy. {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        "",
        "| output | why | GPU seconds | USD | state | findings |",
        "|---|---|---|---|---|---|",
    ]
    for item in batch.items:
        seconds = "?" if item.gpu_seconds is None else f"{item.gpu_seconds:.1f}"
        usd = "?" if item.usd is None else f"{item.usd:.4f}"
        cells = (item.output_key, item.why, seconds, usd, item.state.value, "; ".join(item.findings))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if not asked.dry_run:
        lines += ["", f"`lipswap reprocess --accept {batch.name}` puts what waits in the place of the old outputs."]
    return "\n".join(lines)


def _dollars(usd: float | None) -> str:
    return "of unknown price" if usd is None else f"{usd:.4f} USD"
