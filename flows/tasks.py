"""The tasks of the pipeline: what is tried again, how long it may take, and whose earlier result is used."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun

from flows import caching, cpu_stages, measuring, picturing, signing
from flows.cpu_pool import CPU_POOL
from flows.footage import Assembly, Footage, Uploads, Whole
from flows.parts import Part
from flows.planning import assembly_like
from flows.publishing import keeps_intermediate, leaving, result_of
from flows.remote import JobDone, RemoteJob
from flows.retrying import is_passing
from flows.run import Run
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import FaceFusionJob, Wav2LipJob
from gpu_tasks.contract.quality import QualityReport
from gpu_tasks.contract.records import ResultRecord

P = ParamSpec("P")
R = TypeVar("R")
J = TypeVar("J", Wav2LipJob, FaceFusionJob)

_CPU_STAGE_SECONDS = 1800
# Passing outages of bucket and RunPod are waited for; a job that failed has had its attempts already.
_RETRY_SECONDS = [2.0, 10.0, 30.0, 60.0]


async def _is_passing(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, BaseException) and is_passing(error)


def _stage(
    name: str, cache_policy: CachePolicy, *, timeout_seconds: float | None = None
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a stage's function a task; its result is kept for other runs unless the policy is NO_CACHE."""
    return task(
        name=name,
        cache_policy=cache_policy,
        persist_result=cache_policy is not NO_CACHE,
        cache_expiration=caching.CACHE_TIME,
        timeout_seconds=timeout_seconds,
        retries=len(_RETRY_SECONDS),
        retry_delay_seconds=_RETRY_SECONDS,
        retry_jitter_factor=0.3,
        retry_condition_fn=_is_passing,
    )


@_stage("ingest", caching.BY_UPLOADS, timeout_seconds=_CPU_STAGE_SECONDS)
async def ingest(run: Run, uploads: Uploads) -> Footage:
    """Look at the inputs and copy them to where nobody overwrites them."""
    return await CPU_POOL.run(cpu_stages.ingest, uploads, run.media.settings())


@_stage("lip_sync", caching.BY_FINGERPRINT)
async def lip_sync(run: Run, job: Wav2LipJob) -> JobDone:
    """Let the mouth follow the driving audio, on the wav2lip endpoint."""
    return await _remote(run, job)


@_stage("face_swap", caching.BY_FINGERPRINT)
async def face_swap(run: Run, job: FaceFusionJob) -> JobDone:
    """Put the source's identity on the target's faces, on the facefusion endpoint."""
    return await _remote(run, job)


@_stage("assemble", caching.BY_ASSEMBLY, timeout_seconds=_CPU_STAGE_SECONDS)
async def assemble(run: Run, assembly: Assembly) -> Whole:
    """Put the parts in a row and the sound under them."""
    return await CPU_POOL.run(cpu_stages.assemble, assembly, run.media.settings())


@_stage("inspect", caching.BY_INSPECTED, timeout_seconds=_CPU_STAGE_SECONDS)
async def inspect(run: Run, inspected: measuring.Inspected) -> QualityReport:
    """Measure how good the result came out."""
    return await CPU_POOL.run(measuring.inspect, inspected, run.media.settings())


@_stage("publish", NO_CACHE, timeout_seconds=600)
async def publish(
    run: Run, footage: Footage, whole: Whole, lip_synced: Artifact | None, parts: list[Part]
) -> ResultRecord:
    """Sign the result, and the intermediate if it is kept, and put them under their final keys."""
    files = leaving(
        run.request, footage, whole.artifact, lip_synced, parts[0], task_id=run.task_id, consent_id=run.audit.consent_id
    )
    result, *kept = await _all(_published(run, file) for file in files if file is not None)
    return result_of(whole, parts[0].last.receipt.encoder, result, *kept)


async def computed(run: Run, stage: Task[[Run, J], Any], job: J) -> JobDone:
    """Run one GPU job when its turn comes, and tell readers when it begins and what came out."""
    if job.segment is not None:
        seconds = float(job.segment.start_frame / job.timeline.fps)
        stage = stage.with_options(task_run_name=f"{stage.name} from {seconds:.1f} s")
    async with run.lanes.admitted(job.stage):
        await run.begin(job)
        done: JobDone = await stage(run, job)
        await run.settle(job, done)
    return done


async def lip_synced(run: Run, footage: Footage, whole: Whole, parts: list[Part]) -> Artifact | None:
    """Return the lip-synced video as one file, if it is to be kept beside the whole result."""
    synced = [part.synced for part in parts if part.synced is not None]
    if not synced or not keeps_intermediate(run.request):
        return None
    if not footage.segments:
        return synced[0].receipt.artifact
    return (await assemble(run, assembly_like(whole, footage, *synced))).artifact


@asynccontextmanager
async def measured(run: Run, footage: Footage, whole: Whole) -> AsyncIterator[None]:
    """Measure the result while the block runs, and tell readers the figures. Nothing ends the run."""
    policy = run.policy.quality

    async def note() -> None:
        if policy.enabled:
            report = inspect(run, measuring.inspected_of(footage, whole, policy))
            await run.note(details={"quality": await measuring.told_of(report)})

    noting = asyncio.create_task(note())
    try:
        yield
        await noting
    finally:
        # Only when the block has failed, or the run was cancelled, is it still at work.
        noting.cancel()
        await asyncio.wait([noting])


def draw(run: Run, footage: Footage, whole: Whole) -> None:
    """Have a contact sheet of the result drawn for operators; neither the caller nor the record waits for it."""
    if run.policy.contact_sheets:
        shown = picturing.Pictured(
            target=footage.target, result=whole.artifact, sources=footage.sources, timeline=footage.timeline
        )
        run.board.hang(CPU_POOL.run(picturing.picture, shown, run.media.settings()))


async def _all(works: Iterable[Awaitable[R]]) -> list[R]:
    """Return what all return; the first error is raised when all are over.

    What is left at work would sign other bytes beside the next try of its task.
    """
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return cast("list[R]", outcomes)


async def _published(run: Run, publication: signing.Publication) -> signing.Published:
    published = await CPU_POOL.run(signing.publish, publication, run.signing, run.media.settings())
    await run.audit.sign(published)
    return published


async def _remote(run: Run, job: Wav2LipJob | FaceFusionJob) -> JobDone:
    return await RemoteJob(
        job,
        endpoint=run.endpoint(job.stage),
        store=run.store,
        jobs=run.jobs,
        budget=run.budget,
        max_attempts=run.policy.max_attempts,
        report=partial(run.hear, job),
        charge=run.charge,
        order=run.order,
    ).run()
