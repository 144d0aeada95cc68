"""What a preview is asked for on the command line, and the part of the result that it shows."""

from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from deployments.preview.inputs import Gate, Input
from flows.showing import part_at, preview_claims, tracked
from gpu_tasks.contract.credentials import InputClaim, Role, RunClaims
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Segment, Timeline
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.options import SyncMode
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.one_pass import DraftOrder
from gpu_tasks.draft.speech import SAMPLE_RATE, mouth_shapes
from gpu_tasks.media.audio import load_mono
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline

THREADS: Final = 2


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


class Plan(NamedTuple):
    """The inputs and the part of the result that is shown."""

    target: Input
    audio: Input | None
    sources: tuple[Input, ...]
    draft: DraftOrder

    @property
    def sound(self) -> Path | None:
        """What is heard: the driving audio, else the target's own sound."""
        if self.audio is not None:
            return self.audio.path
        info = self.target.report.info
        return self.target.path if isinstance(info, MediaInfo) and info.audio else None


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
    draft = DraftOrder(
        target=target.path,
        timeline=timeline,
        tracks=folder / "tracks",
        segment=_part(order, timeline, frame_count, audio),
        driving_audio=audio.path if audio else None,
        sources=tuple(read_image(source.path) for source in sources),
    )
    tracked(draft, face_models(THREADS))
    return Plan(target, audio, sources, draft)


def _part(order: PreviewOrder, timeline: Timeline, frame_count: int, audio: Input | None) -> Segment:
    if order.at is not None:
        return part_at(timeline, order.at, frame_count, field="--at")
    if audio is not None:
        voice = load_mono(audio.path, sample_rate=SAMPLE_RATE)
        widest = int(mouth_shapes(voice, timeline.fps, timeline.frame_count).opening.argmax())
        start = max(0, min(widest - frame_count // 2, timeline.frame_count - frame_count))
    else:
        start = 0
    return Segment(start_frame=start, stop_frame=min(start + frame_count, timeline.frame_count))


def claims_of(plan: Plan) -> RunClaims:
    """Return what is said of the preview in its signature."""
    used = [InputClaim.of(Role.TARGET, plan.target.artifact)]
    used += [InputClaim.of(Role.DRIVING_AUDIO, plan.audio.artifact)] if plan.audio is not None else []
    used += [InputClaim.of(Role.SOURCE, source.artifact) for source in plan.sources]
    return preview_claims(plan.draft, used, task_id=f"preview-{uuid4().hex[:16]}", consent_id=None)


def _seconds_of(audio: Input | None) -> float | None:
    if audio is None:
        return None
    if not isinstance(audio.report.info, MediaInfo) or audio.report.info.audio is None:
        raise FaultError(FaultCode.NO_AUDIO_STREAM)
    return audio.report.info.audio.duration_seconds
