"""Behind `POST /preview`: a frame or three seconds of the result, by the draft engine, signed like every output."""

import asyncio

from prefect import flow
from prefect.runtime import flow_run

from blocks import registry
from blocks.audit import AuditLog
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket
from flows import looking, planning
from flows.answering import answer_with
from flows.cpu_pool import QUICK_POOL
from flows.documents import signing_of
from flows.request import PreviewRequest
from gpu_tasks.contract.audit import AuditEvent, AuditFact
from gpu_tasks.contract.looks import MadePreview


@flow(name="preview", persist_result=False)
async def preview(asked: PreviewRequest) -> None:
    """Show a part of what a request would give; key and size of the signed file are left as the run's answer."""
    await answer_with(_made(asked))


async def _made(asked: PreviewRequest) -> MadePreview:
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    policy: PipelinePolicy = await PipelinePolicy.aload(registry.POLICY)
    signing = signing_of(await ProvenancePolicy.aload(registry.PROVENANCE))
    request, store = asked.request, media.store()
    order = looking.PreviewOrder(
        uploads=await asyncio.to_thread(planning.look_up, store, request, policy),
        selection=request.face_selection,
        face_map=request.face_map,
        kind=asked.kind,
        at_seconds=asked.at_seconds,
        task_id=str(flow_run.id),
        consent=asked.consent,
    )
    shown = await QUICK_POOL.run(looking.preview, order, signing, media.settings())
    fact = AuditFact(
        event=AuditEvent.OUTPUT_SIGNED,
        task_id=order.task_id,
        outputs=(shown.artifact.sha256,),
        consent_id=asked.consent.id if asked.consent else None,
    )
    await asyncio.to_thread(AuditLog(store).append, fact)
    return shown.preview
