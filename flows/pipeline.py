"""The pipeline: one request becomes one video.

                  ┌─> lip_sync ─> face_swap ─┐
uploads ─> ingest ┼─> lip_sync ─> face_swap ─┼─> assemble ─┬─> publish ─┬─> result
                  └─> lip_sync ─> face_swap ─┘             └─> inspect ─┘
                    (with audio) (with sources), a row per segment of long footage, one for short
"""

import asyncio

from prefect import flow

from blocks.patience import patiently
from blocks.registry import RESULT_STORAGE
from flows import planning, tasks
from flows.errors import PipelineError
from flows.footage import Footage, told
from flows.hooks import close_record
from flows.parts import Part
from flows.request import PipelineRequest, beyond, unsupported
from flows.run import Run, opened
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Engine, Segment, Stage


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
        if run.has_told_its_result:
            await run.tell_again()
        else:
            await _work(run, request)


async def _work(run: Run, request: PipelineRequest) -> None:
    await run.enter(Stage.INGEST)
    engine = _admitted(run, request)
    await run.note(details={"engine": engine.value})
    footage = await _taken_in(run, request)
    await run.note(media=told(footage))
    await run.audit.accept(run.request, footage)

    run.cut(footage)
    rows = [_row(run, request, footage, engine, segment) for segment in footage.segments or (None,)]
    parts = await run.lanes.side_by_side(rows)

    await run.enter(Stage.ASSEMBLE)
    whole = await tasks.assemble(run, planning.assembly_of(footage, *(part.last for part in parts)))
    lip_synced = await tasks.lip_synced(run, footage, whole, parts)

    await run.enter(Stage.PUBLISH)
    async with tasks.measured(run, footage, whole):
        result = await tasks.publish(run, footage, whole, lip_synced, parts)
    tasks.draw(run, footage, whole)
    await run.trace(footage, parts, result)
    await run.complete(result)


async def _taken_in(run: Run, request: PipelineRequest) -> Footage:
    # Not beside the waiting for GPUs: a run that waits would hold what was found, 5 kB.
    uploads = await patiently(lambda: asyncio.to_thread(planning.look_up, run.store, request, run.policy))
    return await tasks.ingest(run, uploads)


async def _row(run: Run, request: PipelineRequest, footage: Footage, engine: Engine, segment: Segment | None) -> Part:
    """Take one segment, or all of short footage, through the GPU stages; the face swap waits for no other segment."""
    synced = swapped = None
    if request.wants_lip_sync:
        job = planning.lip_sync_job(request, footage, engine, segment)
        synced = await tasks.computed(run, tasks.lip_sync, job)
    if request.wants_face_swap:
        swap = planning.face_swap_job(request, footage, engine, synced, segment)
        swapped = await tasks.computed(run, tasks.face_swap, swap)
    return Part(synced=synced, swapped=swapped)


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
