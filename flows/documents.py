"""The block documents of a run, as they are when it begins: operators may have edited them a moment ago.

Runs that begin together read them together, and all that run have the same ones as long as nobody has edited them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from prefect.client.orchestration import PrefectClient, get_client

from blocks import registry
from blocks.connections import shared
from blocks.job_store import JobStore
from blocks.joint_reads import JointReads
from blocks.policy import PipelinePolicy
from blocks.provenance import ProvenancePolicy
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from gpu_tasks.provenance.settings import SigningSettings

D = TypeVar("D")


class Documents(Generic[D]):
    """What is read from Prefect for each run, and is the same object until it has changed there.

    Args:
        read: Reads it.
    """

    def __init__(self, read: Callable[[], Awaitable[D]]) -> None:
        self._read = read
        self._joint = JointReads(self._newest)
        self._known: D | None = None

    async def get(self) -> D:
        """Return what is there now, or raise what reading it raises."""
        return await self._joint.get(None)

    async def aclose(self) -> None:
        """Leave whoever still waits without an answer."""
        await self._joint.aclose()

    async def _newest(self, asked: list[None]) -> list[D]:
        found = await self._read()
        # Hundreds of runs that wait would have hundreds of copies, 20 kB each (measured).
        if self._known is None or found != self._known:
            self._known = found
        return [self._known for _ in asked]


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
        """Return the documents as they are now."""
        return await shared("blocks of a run", lambda: Documents(cls._read)).get()

    @classmethod
    async def _read(cls) -> "Blocks":
        async with _own_client() as client:
            return cls(
                *await asyncio.gather(
                    R2Bucket.aload(registry.MEDIA, client=client),
                    JobStore.aload(registry.JOBS, client=client),
                    PipelinePolicy.aload(registry.POLICY, client=client),
                    RunPodEndpoint.aload(registry.WAV2LIP, client=client),
                    RunPodEndpoint.aload(registry.FACEFUSION, client=client),
                    ProvenancePolicy.aload(registry.PROVENANCE, client=client),
                )
            )


async def results_block() -> R2Bucket:
    """Return where tasks keep their results, as it is now."""

    async def read() -> R2Bucket:
        async with _own_client() as client:
            return await R2Bucket.aload(registry.TASK_RESULTS, client=client)

    return await shared("block of results", lambda: Documents(read)).get()


def _own_client() -> PrefectClient:
    """Return a client of nobody's: without settings it may be that of the run that asks, which may end before."""
    return get_client(httpx_settings={})


def signing_of(policy: ProvenancePolicy) -> SigningSettings:
    """Return a block's names of files as settings; every field is given, so that no environment is asked."""
    names = ("chain", "key", "trust_anchors", "tsa_url", "tsa_anchors", "development")
    return SigningSettings(**{name: getattr(policy, name) for name in names})
