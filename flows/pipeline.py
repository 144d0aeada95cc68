"""The pipeline: one request becomes one video.

uploads ─> ingest ─> lip_sync ─> face_swap ─> assemble ─┬─> publish ─┬─> result
                     (with audio)  (with sources)       └─> inspect ─┘
"""

import asyncio

from prefect import flow

from blocks.patience import patiently
from blocks.registry import RESULT_STORAGE
from flows import planning, tasks
from flows.errors import PipelineError
from flows.footage import told
from flows.hooks import close_record
from flows.remote import JobDone
from flows.request import PipelineRequest, beyond, unsupported
from flows.run import Run, opened
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Engine, Stage


@flow(
    name="pipeline",
    result_storage=RESULT_STORAGE,
    result_serializer="json",
    persist_result=False,
    on_failure=[close_record],
    on_crashed=[close_record],
    on_cancellation=[close_record],
)
async def pipeline(request: PipelineRequest, consent: DeclaredConsent | None = None) -> None:
    """Turn driving audio, a target video and source faces into one lip-synced, face-swapped video."""
    async with opened(request, consent) as run:
        await _work(run, request)


async def _work(run: Run, request: PipelineRequest) -> None:
    done: dict[Stage, JobDone] = {}

    await run.enter(Stage.INGEST)
    engine = _admitted(run, request)
    await run.note(details={"engine": engine.value})
    limits = planning.limits_of(run.policy)
    uploads = await patiently(lambda: asyncio.to_thread(planning.look_up, run.store, request, limits))
    footage = await tasks.ingest(run, uploads)
    await run.note(media=told(footage))
    await run.accept(footage)

    if request.wants_lip_sync:
        await run.enter(Stage.WAV2LIP)
        done[Stage.WAV2LIP] = await tasks.lip_sync(run, planning.lip_sync_job(request, footage, engine))
        await run.settle(Stage.WAV2LIP, done[Stage.WAV2LIP])
    if request.wants_face_swap:
        await run.enter(Stage.FACEFUSION)
        job = planning.face_swap_job(request, footage, engine, done.get(Stage.WAV2LIP))
        done[Stage.FACEFUSION] = await tasks.face_swap(run, job)
        await run.settle(Stage.FACEFUSION, done[Stage.FACEFUSION])

    await run.enter(Stage.ASSEMBLE)
    last = done.get(Stage.FACEFUSION) or done[Stage.WAV2LIP]
    whole = await tasks.assemble(run, planning.assembly_of(footage, last))

    await run.enter(Stage.PUBLISH)
    async with tasks.measured(run, footage, whole):
        result = await tasks.publish(run, footage, whole, done)
    await run.complete(result)


def _admitted(run: Run, request: PipelineRequest) -> Engine:
    """Refuse what cannot be done before anything is paid for; return the engine that computes."""
    if (refusal := unsupported(request)) is not None:
        raise refusal
    if not (request.wants_lip_sync or request.wants_face_swap):
        raise PipelineError(FaultCode.MISSING_AUDIO_KEY)
    if request.wants_lip_sync:
        run.endpoint(Stage.WAV2LIP)
    if request.wants_face_swap:
        run.endpoint(Stage.FACEFUSION)
    engine = run.engine()
    if (refusal := beyond(request, engine)) is not None:
        raise refusal
    return engine
