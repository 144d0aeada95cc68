"""What a stack of simulated workers is told, and clients of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.client.orchestration import PrefectClient

from blocks.connections import close_shared
from blocks.job_store import JobStore
from deployments.local.addresses import StackAddresses
from deployments.local.gpu_endpoints import FACEFUSION, WAV2LIP, GpuWorkers
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.storage import ArtifactStore, connect
from tests.runs.orchestra import Orchestra
from tests.simulation.commands import simulated


def gpu_workers(*, seconds: float, concurrency: int = 16, at_most: int = 1) -> GpuWorkers:
    """Return workers for both endpoints, `seconds` per job of each."""
    return GpuWorkers(
        commands={
            WAV2LIP: simulated(Stage.WAV2LIP, seconds=seconds, concurrency=concurrency),
            FACEFUSION: simulated(Stage.FACEFUSION, seconds=seconds, concurrency=concurrency),
        },
        at_most=at_most,
    )


def store_of(at: StackAddresses) -> ArtifactStore:
    """Return a stack's bucket."""
    return connect(at.r2)


@asynccontextmanager
async def orchestra_of(at: StackAddresses) -> AsyncIterator[Orchestra]:
    """Send requests to a stack."""
    async with PrefectClient(at.prefect_api_url) as prefect:
        yield Orchestra(
            prefect,
            JobStore(redis_url=at.redis_url),
            at.runpod_api_base.removesuffix("/v2"),
            at.runpod_api_key.get_secret_value(),
        )
    await close_shared()
