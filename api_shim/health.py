"""Readiness: each dependency asked at once, each with its own deadline."""

import asyncio
import time
from collections.abc import Awaitable

from api_shim.door import configuration_gap
from api_shim.runs import Runs
from api_shim.settings import ShimSettings
from api_shim.wire import DependencyHealth, Readiness
from blocks.job_store import JobStore
from gpu_tasks.contract.artifacts import RESULTS
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.storage import ArtifactStore

_PROBE_SECONDS = 3.0


async def readiness(settings: ShimSettings, runs: Runs, store: JobStore, bucket: ArtifactStore) -> Readiness:
    """Ask every dependency. Redis is not required: without it records are read from Prefect."""
    # RunPod is not asked: a probe per readiness check would be billed by nobody but limited by RunPod.
    gap = configuration_gap(settings)
    found = await asyncio.gather(
        _probe(runs.check_server(), required=True),
        _probe(runs.deployment_id(), required=True),
        _probe(store.ping(), required=False),
        # A key that need not be there: the answer shows that address, credentials and bucket are right.
        _probe(asyncio.to_thread(bucket.head, f"{RESULTS}readiness"), required=True),
    )
    dependencies = dict(zip(("prefect", "deployment", "redis", "bucket"), found, strict=True))
    dependencies["runpod"] = DependencyHealth(ok=gap is None, required=True, reason=gap)
    failing = [health for health in dependencies.values() if not health.ok]
    if any(health.required for health in failing):
        return Readiness(status="unready", dependencies=dependencies)
    return Readiness(status="degraded" if failing else "ready", dependencies=dependencies)


async def _probe(asked: Awaitable[object], *, required: bool) -> DependencyHealth:
    begun = time.perf_counter()
    reason = None
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await asked
    except FaultError as error:
        reason = error.fault.detail
    except TimeoutError:
        reason = FaultError(FaultCode.DEADLINE_EXCEEDED, f"No answer in {_PROBE_SECONDS:g} seconds.").fault.detail
    latency_ms = round((time.perf_counter() - begun) * 1000, 1)
    return DependencyHealth(ok=reason is None, required=required, latency_ms=latency_ms, reason=reason)
