"""Verifying a stored file: behind `POST /verify`, because the shim holds neither files nor certificates."""

import asyncio

from prefect import flow

from blocks import registry
from blocks.audit import AuditLog
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket
from flows.answering import answer_with
from flows.cpu_pool import QUICK_POOL
from flows.documents import signing_of
from flows.examining import examine
from flows.request import VerifyRequest
from gpu_tasks.contract.audit import AuditEvent, AuditFact
from gpu_tasks.contract.credentials import Verdict


@flow(name="verify", persist_result=False)
async def verify(asked: VerifyRequest) -> None:
    """Look whether a stored file carries our credential and is as signed; the verdict is left as the run's answer."""
    await answer_with(_verdict(asked))


async def _verdict(asked: VerifyRequest) -> Verdict:
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    policy: PipelinePolicy = await PipelinePolicy.aload(registry.POLICY)
    signing = signing_of(await ProvenancePolicy.aload(registry.PROVENANCE))
    found = await QUICK_POOL.run(examine, asked.key, policy.max_video_bytes, signing, media.settings())
    fact = AuditFact(event=AuditEvent.VERIFY_ASKED, inputs=(found.sha256,))
    await asyncio.to_thread(AuditLog(media.store()).append, fact)
    return found.verdict
