"""The block documents of a run, as they are when it begins: operators may have edited them a moment ago."""

import asyncio
from typing import NamedTuple

from prefect.client.orchestration import get_client

from blocks import registry
from blocks.connections import shared
from blocks.job_store import JobStore
from blocks.joint_reads import JointReads
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from gpu_tasks.provenance.settings import SigningSettings


class Blocks(NamedTuple):
    """The block documents as they are when the run begins; operators may have edited them a moment ago."""

    media: R2Bucket
    jobs: JobStore
    policy: PipelinePolicy
    wav2lip: RunPodEndpoint
    facefusion: RunPodEndpoint
    provenance: ProvenancePolicy

    @classmethod
    async def load(cls) -> "Blocks":
        """Return the documents as they are now; runs that begin together read them together."""
        joint = shared("blocks of a run", lambda: JointReads(cls._read))
        return await joint.get(None)

    @classmethod
    async def _read(cls, asked: list[None]) -> list["Blocks"]:
        async with get_client() as client:
            blocks = cls(
                *await asyncio.gather(
                    R2Bucket.aload(registry.MEDIA, client=client),
                    JobStore.aload(registry.JOBS, client=client),
                    PipelinePolicy.aload(registry.POLICY, client=client),
                    RunPodEndpoint.aload(registry.WAV2LIP, client=client),
                    RunPodEndpoint.aload(registry.FACEFUSION, client=client),
                    ProvenancePolicy.aload(registry.PROVENANCE, client=client),
                )
            )
        return [blocks for _ in asked]


def signing_of(policy: ProvenancePolicy) -> SigningSettings:
    """Return a block's names of files as settings; every field is given, so that no environment is asked."""
    names = ("chain", "key", "trust_anchors", "tsa_url", "tsa_anchors", "development")
    return SigningSettings(**{name: getattr(policy, name) for name in names})
