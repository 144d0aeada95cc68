"""What routes work with, made once when the app starts and closed when it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api_shim.api_keys import KeyRing
from api_shim.callers import Callers
from api_shim.deletion import Deletion
from api_shim.history import History
from api_shim.idempotency import Claims
from api_shim.large_uploads import LargeUploads
from api_shim.metrics import Metrics
from api_shim.mirror import Mirror
from api_shim.owners import Owners
from api_shim.questions import Questions
from api_shim.queue_looks import QueueLooks
from api_shim.quotas import Quotas
from api_shim.rates import Rates
from api_shim.records import Records
from api_shim.run_lists import RunLists
from api_shim.runs import Runs, connect
from api_shim.settings import ShimSettings
from api_shim.uploads import Uploads
from api_shim.watching import Watching
from blocks.audit import AuditLog
from blocks.connections import close_shared
from blocks.job_store import JobStore
from gpu_tasks.storage import ArtifactStore
from gpu_tasks.storage import connect as connect_store

# A caller waits at the door: a dead bucket is given up after about five seconds.
_STORE_ATTEMPTS = 2
_STORE_CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Services:
    """One of each per process."""

    settings: ShimSettings
    runs: Runs
    store: JobStore
    bucket: ArtifactStore
    records: Records
    watching: Watching
    metrics: Metrics
    queue_looks: QueueLooks
    uploads: Uploads
    large_uploads: LargeUploads
    questions: Questions
    audit: AuditLog
    callers: Callers
    rates: Rates
    quotas: Quotas
    owners: Owners
    claims: Claims
    history: History
    deletion: Deletion


@asynccontextmanager
async def open_services(settings: ShimSettings, metrics: Metrics) -> AsyncIterator[Services]:
    """Connect to Prefect, Redis and the bucket, none of which needs to be up yet, and follow Prefect's events."""
    store = JobStore(
        redis_url=settings.jobstore_redis_url, prefix=settings.jobstore_prefix, ttl_seconds=settings.jobstore_ttl
    )
    bucket = connect_store(settings.r2, attempts=_STORE_ATTEMPTS, connect_seconds=_STORE_CONNECT_SECONDS)
    async with connect(settings.prefect_api_url) as client:
        runs, lists = Runs(client), RunLists(client)
        owners = Owners(store, runs, bucket)
        callers = Callers(
            KeyRing(bucket),
            secret=settings.api_secret,
            needs_key=settings.require_key,
            # A stream sees it with its next heartbeat: both together, and the reading, are the promised 20 seconds.
            look_seconds=settings.heartbeat_seconds / 4,
        )
        records = Records(store, runs, bucket, settings)
        feed = store.feed()
        mirror = Mirror(settings.prefect_api_url, store, records, runs, metrics)
        following = [asyncio.create_task(work) for work in (mirror.follow(), feed.run(), callers.look_after())]
        try:
            yield Services(
                settings=settings,
                runs=runs,
                store=store,
                bucket=bucket,
                records=records,
                watching=Watching(records, feed, metrics, max_streams=settings.max_listeners),
                metrics=metrics,
                queue_looks=QueueLooks(client, metrics),
                uploads=Uploads(bucket, settings),
                large_uploads=LargeUploads(bucket, settings),
                questions=Questions(runs, store),
                audit=AuditLog(bucket),
                callers=callers,
                rates=Rates(store, per_minute=settings.requests_per_minute),
                quotas=Quotas(store, runs, max_tasks=settings.max_tasks_per_key),
                owners=owners,
                claims=Claims(store),
                history=History(lists, store, records),
                deletion=Deletion(runs=runs, lists=lists, records=records, store=store, bucket=bucket, owners=owners),
            )
        finally:
            for task in following:
                task.cancel()
            # Each until its connection is closed, whatever the other has ended with.
            await asyncio.gather(*following, return_exceptions=True)
            await callers.close()
            await close_shared()


# A dependency that is no coroutine costs each request a walk through the pool of threads.
async def services_of(request: Request) -> Services:
    """Return what the app was started with."""
    services: Services = request.app.state.services
    return services


Provided = Annotated[Services, Depends(services_of)]
