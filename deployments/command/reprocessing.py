"""`lipswap reprocess`: outputs made anew by what is newer, what failed or what carries a label; and taken, or not."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from blocks import registry
from blocks.policy import PipelinePolicy
from deployments.command.exits import Exit, SettingsUnusableError, told_errors, told_in
from deployments.command.options import DEFAULT_DATA, AsJson, Data, Timeout
from deployments.command.reaching import bucket_of
from deployments.console import Told
from deployments.local.addresses import running_addresses
from deployments.wording.messages import Message
from flows import batches
from flows.reprocess import REPROCESS_DEPLOYMENT, ReprocessRequest, plan
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.lineage import Batch, BatchState
from gpu_tasks.storage import ArtifactStore, connect

_LOOK_SECONDS: Final = 1.0


def reprocess(  # the options say it
    context: typer.Context,
    only: Annotated[str, typer.Option("--only", help="What: stale, failed, or label=name:value.")] = "stale",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what, and what it would cost.")] = False,
    batch: Annotated[str | None, typer.Option("--batch", help="Go on with this batch, or name a new one.")] = None,
    show: Annotated[str | None, typer.Option("--show", help="Show how a batch stands.")] = None,
    accept: Annotated[
        str | None, typer.Option("--accept", help="Of this batch, put what waits in the place of the old outputs.")
    ] = None,
    reject: Annotated[
        str | None, typer.Option("--reject", help="Of this batch, throw the new outputs away and keep the old ones.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="With --accept or --reject: only of this task; may be given again."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the batch to its end.")] = True,
    timeout: Timeout = 24 * 3600.0,
    data: Data = DEFAULT_DATA,
    as_json: AsJson = False,
) -> None:
    """Make outputs anew that are stale, have failed or carry a label; the old ones stay until the new are accepted."""
    told = told_in(context)
    with told_errors(told, as_json=as_json):
        store = connect(bucket_of(data))
        if named := show or accept or reject:
            found = (
                batches.read(store, named)
                if show
                else batches.decide(store, named, accept=accept is not None, task_ids=task or ())
            )
        else:
            asked = ReprocessRequest(only=only, dry_run=dry_run, batch=batch)
            with _prefect_of(data):
                found = asyncio.run(_planned_or_done(store, asked, seconds=timeout if wait else 0.0))
    _show(found, told, as_json=as_json)
    raise typer.Exit(Exit.FAILED if found.state is BatchState.HELD else Exit.DONE)


async def _planned_or_done(store: ArtifactStore, asked: ReprocessRequest, *, seconds: float) -> Batch:
    async with get_client() as client:
        # Read as data: loading the block would send an event, for which this process is too short.
        document = await client.read_block_document_by_name(registry.POLICY, PipelinePolicy.get_block_type_slug())
        policy = PipelinePolicy.model_validate(document.data)
        batch = await plan(store, client, policy, asked)
        if asked.dry_run or not batch.items:
            return batch
        # The flow plans by itself; named like this, it makes what has just been shown to whoever asks.
        named = asked.model_copy(update={"batch": batch.name})
        deployment = await client.read_deployment_by_name(REPROCESS_DEPLOYMENT)
        run = await client.create_flow_run_from_deployment(
            deployment.id, parameters={"asked": named.model_dump(mode="json")}, tags=["lipswap", "lipswap.reprocess"]
        )
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not (run.state and run.state.is_final()) and loop.time() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            run = await client.read_flow_run(run.id)
        if run.state and run.state.is_final() and not run.state.is_completed():
            raise FaultError(FaultCode.INTERNAL, f"See the run {run.id} in Prefect.")
        known = await asyncio.to_thread(batches.known, store, batch.name)
        return known or batch


@contextmanager
def _prefect_of(data: Path) -> Iterator[None]:
    """Speak to the Prefect server of the running local stack, else to the one that the environment names.

    Raises:
        SettingsUnusableError: There is neither: without an address Prefect would start a server of its own.
    """
    local = running_addresses(data)
    if local is None:
        if not PREFECT_API_URL.value():
            raise SettingsUnusableError("PREFECT_API_URL: the address of the Prefect server is not set.")
        yield
        return
    login = local.prefect_login.get_secret_value()
    with temporary_settings({PREFECT_API_URL: local.prefect_api_url, PREFECT_API_AUTH_STRING: login}):
        yield


def _show(batch: Batch, told: Told, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(batch.model_dump_json() + "\n")
        return
    told.say(
        Message.BATCH,
        name=batch.name,
        state=batch.state,
        only=batch.only,
        count=len(batch.items),
        seconds=batch.gpu_seconds,
        usd="?" if batch.usd is None else f"{batch.usd:.4f}",
        left_out=batch.left_out,
    )
    headings = tuple(told.text(Message.BATCH_HEADINGS).split("|"))
    rows = [
        (
            item.output_key,
            item.state.value,
            "?" if item.gpu_seconds is None else f"{item.gpu_seconds:.1f}",
            item.why,
            "; ".join(item.findings),
        )
        for item in batch.items
    ]
    told.rows(headings, rows)
