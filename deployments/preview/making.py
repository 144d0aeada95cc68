"""A glimpse of the draft result without any stack: the workers' own code on a few frames, signed like every output."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Final
from uuid import uuid4

import cv2
from pydantic import BaseModel, ConfigDict, Field

from deployments.preview.inputs import Gate, Input
from deployments.preview.tracking import track_glimpse
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Segment, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.contract.tracks import TRACKS_MEDIA_TYPE
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.join import join
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.provenance.certificates import Signatory
from gpu_tasks.provenance.credential import Credential, InputClaim, Role, RunClaims, StageClaim
from gpu_tasks.provenance.sign import sign_file
from gpu_tasks.runtime.frames import Changed, changed_frames
from gpu_tasks.runtime.pipeline import Bench
from gpu_tasks.wav2lip.pipeline import LipSync

_THREADS: Final = 2
_JPEG_QUALITY: Final = 95


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


class Preview(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True)

    path: Path
    start_seconds: float
    frame_count: int
    frames_with_face: int
    reports: dict[str, GateReport]


class _Plan(BaseModel):
    """The inputs and the part of the result that is shown."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    target: Input
    audio: Input | None
    sources: tuple[Input, ...]
    timeline: Timeline
    part: Segment
    tracks: Artifact
    bench: Bench


def make_preview(order: PreviewOrder, signatory: Signatory) -> Preview:
    """Show a part of what a request would give on the draft engine.

    The frames are those of the real result before its encode, as long as no other face of the clip is more prominent.

    Args:
        order: What is wanted.
        signatory: Who signs it.

    Raises:
        FaultError: As ingest and the workers raise; REQUEST_INVALID for an order that makes no sense;
            NO_FACE_DETECTED when the part that is shown has none.
        OSError: The destination cannot be written.
    """
    form = FORMS.get(order.destination.suffix.lower())
    if form is None:
        raise FaultError(FaultCode.REQUEST_INVALID, f"--out ends in one of {', '.join(FORMS)}.")
    if not order.destination.absolute().parent.is_dir():
        raise FaultError(
            FaultCode.REQUEST_INVALID, f"--out {order.destination}: name a file in a folder that is there."
        )
    if order.audio is None and not order.sources:
        raise FaultError(FaultCode.MISSING_AUDIO_KEY)
    with tempfile.TemporaryDirectory(prefix="lipswap-preview-") as folder:
        plan = _plan(order, form, Path(folder))
        made = Path(folder) / f"unsigned{order.destination.suffix}"
        with _changed(plan) as frames:
            with_face = _clip(plan, frames, made) if form is Form.CLIP else _still(frames, made, form)
        if not with_face:
            shown = f"Frames {plan.part.start_frame} to {plan.part.stop_frame - 1} were looked at."
            raise FaultError(FaultCode.NO_FACE_DETECTED, shown)
        sign_file(made, order.destination, Credential(claims=_claims(plan), media_type=form.value), signatory)
    named = [("target", plan.target), ("audio", plan.audio), *(("source", source) for source in plan.sources)]
    return Preview(
        path=order.destination,
        start_seconds=float(plan.part.start_frame / plan.timeline.fps),
        frame_count=plan.part.frame_count,
        frames_with_face=with_face,
        reports={
            f"{name} {place}" if name == "source" else name: given.report
            for place, (name, given) in enumerate(named, start=-1)
            if given is not None
        },
    )


def _plan(order: PreviewOrder, form: Form, folder: Path) -> _Plan:
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
    return _Plan(target=target, audio=audio, sources=sources, timeline=timeline, part=part, tracks=tracks, bench=bench)


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


@contextmanager
def _changed(plan: _Plan) -> Iterator[Iterator[Changed]]:
    """Open the changed frames of the part that is shown: lip-sync, then face swap, as the workers do them."""
    jobs = _jobs(plan)
    with ExitStack() as stack:
        changes = [
            stack.enter_context(
                LipSync().change(job, plan.bench) if isinstance(job, Wav2LipJob) else FaceSwap().change(job, plan.bench)
            )
            for job in jobs
        ]
        frames = stack.enter_context(closing(changed_frames(jobs[0], plan.bench, changes[0])))

        def chained() -> Iterator[Changed]:
            for index, changed in enumerate(frames, start=plan.part.start_frame):
                latest = changed
                for change in changes[1:]:
                    after = change(index, latest.pixels)
                    latest = Changed(after.pixels, has_face=after.has_face or latest.has_face)
                yield latest

        yield chained()


def _jobs(plan: _Plan) -> tuple[Wav2LipJob | FaceFusionJob, ...]:
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


def _still(frames: Iterator[Changed], destination: Path, form: Form) -> int:
    changed = next(frames)
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if form is Form.JPEG else []
    done, encoded = cv2.imencode(destination.suffix.lower(), changed.pixels, settings)
    if not done:
        raise FaultError(FaultCode.INTERNAL)
    destination.write_bytes(encoded.tobytes())
    return int(changed.has_face)


def _clip(plan: _Plan, frames: Iterator[Changed], destination: Path) -> int:
    silent = plan.bench.folder / "silent.mp4"
    first = next(frames)
    height, width = first.pixels.shape[:2]
    with_face = int(first.has_face)
    with VideoWriter(silent, width=width, height=height, fps=plan.timeline.fps) as writer:
        writer.write(first.pixels)
        for changed in frames:
            with_face += changed.has_face
            writer.write(changed.pixels)
    start = plan.part.start_frame / plan.timeline.fps
    own = plan.target if isinstance(plan.target.report.info, MediaInfo) and plan.target.report.info.audio else None
    sound = plan.audio or own
    join(
        [silent],
        destination=destination,
        fps=plan.timeline.fps,
        audio_from=sound.path if sound else None,
        duration_seconds=float(plan.part.frame_count / plan.timeline.fps),
        audio_start_seconds=start,
    )
    return with_face


def _claims(plan: _Plan) -> RunClaims:
    used = [(Role.TARGET, plan.target.artifact)]
    if plan.audio is not None:
        used.append((Role.DRIVING_AUDIO, plan.audio.artifact))
    used += [(Role.SOURCE, source.artifact) for source in plan.sources]
    return RunClaims(
        task_id=f"preview-{uuid4().hex[:16]}",
        stages=tuple(
            StageClaim(stage=job.stage, engine=job.engine, model_revisions=job.model_revisions) for job in _jobs(plan)
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
