"""Behind `POST /estimate`: how long a run would take and what it would cost, stage by stage."""

import asyncio
import math
from collections.abc import Sequence

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterType
from prefect.client.schemas.sorting import ArtifactSort

from blocks import registry
from blocks.job_store import JobStoreError, parse_record
from blocks.policy import PipelinePolicy
from blocks.r2 import R2Bucket
from blocks.runpod import RunPodEndpoint
from flows import looking, planning
from flows.answering import answer_with
from flows.cpu_pool import QUICK_POOL
from flows.footage import Footage
from flows.paces import Pace, pace_of, seconds_besides
from flows.remote import JobDone
from flows.request import EstimateRequest, PipelineRequest
from gpu_tasks.contract.answers import RECORD_ARTIFACT
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Segment, Stage, Wav2LipJob, keys_of
from gpu_tasks.contract.looks import Estimate, Notice, StageEstimate
from gpu_tasks.contract.manifest import resolve_engine
from gpu_tasks.contract.prices import price_table
from gpu_tasks.contract.receipts import Receipt
from gpu_tasks.contract.records import TaskRecord
from gpu_tasks.storage import ArtifactStore

# Enough for a median, and one answer of Prefect.
_RECORDS = 50
_NOT_MEASURED = Notice(
    code="not_measured",
    sentence="No such run has ended here yet: the seconds are from published figures of others and rough.",
)
_NOT_LOOKED_AT = Notice(
    code="cache_unknown", sentence="The target was not used before: whether results can be used again is not known."
)


@flow(name="estimate", persist_result=False)
async def estimate(asked: EstimateRequest) -> None:
    """Look at target and sound, and reckon what a run of them takes; it is left as the run's answer."""
    await answer_with(_reckoned(asked.request))


async def _reckoned(request: PipelineRequest) -> Estimate:
    media: R2Bucket = await R2Bucket.aload(registry.MEDIA)
    policy: PipelinePolicy = await PipelinePolicy.aload(registry.POLICY)
    store = media.store()
    engine = resolve_engine(
        request.engine,
        draft_allowed=policy.draft_allowed,
        neural_ready=policy.neural_ready,
        stages=request.gpu_stages,
    )
    uploads = await asyncio.to_thread(planning.look_up, store, request, policy)
    look, records = await asyncio.gather(QUICK_POOL.run(looking.look, uploads, media.settings()), _lately_ended())
    cached = await asyncio.to_thread(_cached, store, request, look, engine)
    paces = {stage: pace_of(engine, stage, records) for stage in request.gpu_stages}
    frame_count = look.timeline.frame_count
    prices = {stage: await _price(stage) for stage in paces}
    stages = tuple(
        _stage(stage, pace, frame_count, usd_per_second=prices[stage], is_cached=stage in cached)
        for stage, pace in paces.items()
    )
    gpu_seconds = round(sum(stage.gpu_seconds for stage in stages), 3)
    table, notices = price_table(), []
    if not all(pace.is_measured for pace in paces.values()):
        notices.append(_NOT_MEASURED)
    if look.footage is None:
        notices.append(_NOT_LOOKED_AT)
    return Estimate(
        duration_sec=round(look.timeline.duration_seconds, 3),
        frame_count=frame_count,
        fps=round(float(look.timeline.fps), 3),
        width=look.video.width,
        height=look.video.height,
        stages=stages,
        gpu_seconds=gpu_seconds,
        usd=None if None in prices.values() else round(sum(stage.usd or 0.0 for stage in stages), 6),
        price_table=f"{table.source}, read on {table.read_on}" if any(prices.values()) else None,
        wall_seconds=round(gpu_seconds + seconds_besides(frame_count, records), 3),
        warnings=tuple(notices),
    )


async def _price(stage: Stage) -> float | None:
    """Return US dollars per second at a stage's endpoint, None when nobody has said which GPU it has."""
    endpoint: RunPodEndpoint = await RunPodEndpoint.aload(registry.ENDPOINTS[stage])
    return endpoint.price(is_needed=False)


def _stage(
    stage: Stage, pace: Pace, frame_count: int, *, usd_per_second: float | None, is_cached: bool
) -> StageEstimate:
    seconds = 0.0 if is_cached else round(pace.seconds_per_frame * frame_count, 3)
    # RunPod bills full seconds.
    usd = None if usd_per_second is None else round(math.ceil(seconds) * usd_per_second, 6)
    return StageEstimate(stage=stage, gpu_seconds=seconds, usd=usd, cached=is_cached)


def _cached(store: ArtifactStore, request: PipelineRequest, look: looking.Look, engine: Engine) -> frozenset[Stage]:
    """Return the stages whose very jobs have been done before; asked only where that costs no more than a few reads."""
    if look.footage is None:
        return frozenset()
    cached = set(request.gpu_stages)
    for segment in look.footage.segments or (None,):
        cached &= _cached_of_segment(store, request, look.footage, engine, segment)
        if not cached:
            break
    return frozenset(cached)


def _cached_of_segment(
    store: ArtifactStore, request: PipelineRequest, footage: Footage, engine: Engine, segment: Segment | None
) -> frozenset[Stage]:
    done: dict[Stage, JobDone] = {}
    if request.wants_lip_sync:
        receipt = _receipt(store, planning.lip_sync_job(request, footage, engine, segment))
        if receipt is None:
            return frozenset()
        done[Stage.WAV2LIP] = JobDone(receipt=receipt, paid_by="", attempts=0)
    if request.wants_face_swap:
        job = planning.face_swap_job(request, footage, engine, done.get(Stage.WAV2LIP), segment)
        if (receipt := _receipt(store, job)) is not None:
            done[Stage.FACEFUSION] = JobDone(receipt=receipt, paid_by="", attempts=0)
    return frozenset(done)


def _receipt(store: ArtifactStore, job: Wav2LipJob | FaceFusionJob) -> Receipt | None:
    receipt = store.read_json(keys_of(job).receipt, Receipt)
    # Lifecycle may have taken the object away.
    return receipt if receipt is not None and store.head(receipt.artifact.key) is not None else None


async def _lately_ended() -> Sequence[TaskRecord]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=[RECORD_ARTIFACT])),
            sort=ArtifactSort.CREATED_DESC,
            limit=_RECORDS,
        )
    records = []
    for artifact in found:
        try:
            records.append(parse_record(artifact.data if isinstance(artifact.data, str) else b""))
        except JobStoreError:
            continue
    return records
