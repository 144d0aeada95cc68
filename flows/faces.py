"""Behind `POST /faces`: a small flow, because the shim holds no pixels."""

import asyncio

from prefect import flow

from blocks import registry
from blocks.policy import PipelinePolicy
from blocks.r2 import R2Bucket
from flows import picking, planning
from flows.answering import answer_with
from flows.cpu_pool import QUICK_POOL
from flows.request import FacesRequest
from gpu_tasks.contract.looks import FoundFaces


@flow(name="faces", persist_result=False)
async def faces(asked: FacesRequest) -> None:
    """Find the faces of a target, for somebody who chooses among them; they are left as the run's answer."""
    await answer_with(_found(asked))


async def _found(asked: FacesRequest) -> FoundFaces:
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    policy: PipelinePolicy = await PipelinePolicy.aload(registry.POLICY)
    limits = planning.limits_of(policy)
    order = picking.FacesOrder(
        target=await asyncio.to_thread(planning.upload_of, media.store(), asked.target_key, limits.max_video_bytes),
        at_seconds=asked.at_seconds,
        limits=limits,
        revisions=planning.tracking_revisions(),
    )
    return await QUICK_POOL.run(picking.faces, order, media.settings())
