"""What a preview is asked for, and the workers' jobs that make it."""

from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from deployments.preview.inputs import Gate, Input
from deployments.preview.tracking import track_glimpse
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Segment, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.tracks import TRACKS_MEDIA_TYPE
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.provenance.credential import InputClaim, Role, RunClaims, StageClaim
from gpu_tasks.runtime.pipeline import Bench

_THREADS: Final = 2


class Form(Enum):
    """What is made: by the ending of its file's name."""

    CLIP = "video/mp4"
    PNG = "image/png"
    JPEG = "image/jpeg"


FORMS: Final = {".mp4": Form.CLIP, ".png": Form.PNG, ".jpg": Form.JPEG, ".jpeg": Form.JPEG}


class PreviewOrder(BaseModel):
    """What a person wants to see. `at` is in seconds of the result; without it, where the mouth opens widest."""

    model_config = ConfigDict(frozen=True)

    target: Path
    audio: Path | None = None
    sources: tuple[Path, ...] = ()
    destination: Path
    at: float | None = Field(default=None, ge=0)
    seconds: float = Field(default=3.0, gt=0, le=10)
    sync_mode: SyncMode = SyncMode.LOOP


class Plan(BaseModel):
    """The inputs and the part of the result that is shown."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    target: Input
    audio: Input | None
    sources: tuple[Input, ...]
    timeline: Timeline
    part: Segment
    tracks: Artifact
    bench: Bench


def plan_of(order: PreviewOrder, form: Form, folder: Path) -> Plan:
    """Let the inputs in, decide what is shown, and find the faces in it.

    Raises:
        FaultError: As the gate and the timeline raise; REQUEST_INVALID when `at` lies after the end.
        OSError: An input is not there.
    """
    gate = Gate(folder)
    target = gate.target(order.target)
    audio = gate.audio(order.audio) if order.audio is not None else None
    sources = tuple(gate.source(source, place) for place, source in enumerate(order.sources, start=1))
    info = target.report.info
    if not isinstance(info, MediaInfo) or info.video is None:
        raise FaultError(FaultCode.NO_VIDEO_STREAM, f"{order.target.name}.")
    timeline = plan_timeline(info.video, _seconds_of(audio), order.sync_mode)
    frame_count = 1 if form is not Form.CLIP else max(1, round(order.seconds * timeline.fps))
    part = _part(order, timeline, frame_count, audio)
    found = folder / "tracks"
    track_glimpse(target.path, found, face_models(_THREADS), timeline, part)
    tracks = Artifact(
        key=f"{WORK}{Stage.INGEST}/tracks",
        sha256=target.artifact.sha256,
        size_bytes=found.stat().st_size,
        media_type=TRACKS_MEDIA_TYPE,
    )
    inputs = {given.artifact.key: given.path for given in (target, audio, *sources) if given is not None}
    bench = Bench(
        folder=folder,
        inputs=inputs | {tracks.key: found},
        threads=_THREADS,
        checkpoint=lambda: None,
        report=lambda _done, _total, _what: None,
    )
    return Plan(target=target, audio=audio, sources=sources, timeline=timeline, part=part, tracks=tracks, bench=bench)


def _part(order: PreviewOrder, timeline: Timeline, frame_count: int, audio: Input | None) -> Segment:
    if order.at is not None:
        start = int(Fraction(order.at).limit_denominator(1_000_000) * timeline.fps)
        if start >= timeline.frame_count:
            raise FaultError(FaultCode.REQUEST_INVALID, f"--at: the result lasts {timeline.duration_seconds:.2f} s.")
    elif audio is not None:
        voice = load_mono(audio.path, sample_rate=SAMPLE_RATE)
        widest = int(mouth_shapes(voice, timeline.fps, timeline.frame_count).opening.argmax())
        start = max(0, min(widest - frame_count // 2, timeline.frame_count - frame_count))
    else:
        start = 0
    return Segment(start_frame=start, stop_frame=min(start + frame_count, timeline.frame_count))


def jobs_of(plan: Plan) -> tuple[Wav2LipJob | FaceFusionJob, ...]:
    """Return lip-sync, face swap, or one after the other."""
    jobs: list[Wav2LipJob | FaceFusionJob] = []
    if plan.audio is not None:
        jobs.append(
            Wav2LipJob(
                engine=Engine.DRAFT,
                model_revisions=manifest().revisions(Engine.DRAFT, Stage.WAV2LIP),
                target=plan.target.artifact,
                driving_audio=plan.audio.artifact,
                timeline=plan.timeline,
                segment=plan.part,
                tracks=plan.tracks,
            )
        )
    if plan.sources:
        swap = FaceFusionJob(
            engine=Engine.DRAFT,
            model_revisions=manifest().revisions(Engine.DRAFT, Stage.FACEFUSION),
            target=plan.target.artifact,
            sources=tuple(source.artifact for source in plan.sources),
            timeline=plan.timeline,
            segment=plan.part,
            tracks=plan.tracks,
            # After lip-sync the mouth is no longer where the tracks saw it.
            laid_out=Segment(start_frame=0, stop_frame=plan.timeline.frame_count) if jobs else None,
        )
        jobs.append(swap)
    return tuple(jobs)


def claims_of(plan: Plan) -> RunClaims:
    """Return what is said of the preview in its signature."""
    used = [(Role.TARGET, plan.target.artifact)]
    if plan.audio is not None:
        used.append((Role.DRIVING_AUDIO, plan.audio.artifact))
    used += [(Role.SOURCE, source.artifact) for source in plan.sources]
    return RunClaims(
        task_id=f"preview-{uuid4().hex[:16]}",
        stages=tuple(
            StageClaim(stage=job.stage, engine=job.engine, model_revisions=job.model_revisions) for job in jobs_of(plan)
        ),
        inputs=tuple(InputClaim.of(role, artifact) for role, artifact in used),
        is_preview=True,
    )


def _seconds_of(audio: Input | None) -> float | None:
    if audio is None:
        return None
    if not isinstance(audio.report.info, MediaInfo) or audio.report.info.audio is None:
        raise FaultError(FaultCode.NO_AUDIO_STREAM)
    return audio.report.info.audio.duration_seconds
