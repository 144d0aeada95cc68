"""A glimpse of the draft result without any stack: the workers' own code on a few frames, signed like every output."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import cv2
from pydantic import BaseModel, ConfigDict

from deployments.preview.planning import FORMS, Form, Plan, PreviewOrder, claims_of, jobs_of, plan_of
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.contract.jobs import Wav2LipJob
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.facefusion.pipeline import FaceSwap
from gpu_tasks.media.join import join
from gpu_tasks.media.writer import VideoWriter
from gpu_tasks.provenance.certificates import Signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.sign import sign_file
from gpu_tasks.runtime.frames import Changed, changed_frames
from gpu_tasks.wav2lip.pipeline import LipSync

_JPEG_QUALITY: Final = 95


class Preview(BaseModel):
    """What was made."""

    model_config = ConfigDict(frozen=True)

    path: Path
    start_seconds: float
    frame_count: int
    frames_with_face: int
    reports: dict[str, GateReport]


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
        plan = plan_of(order, form, Path(folder))
        made = Path(folder) / f"unsigned{order.destination.suffix}"
        with _changed(plan) as frames:
            with_face = _clip(plan, frames, made) if form is Form.CLIP else _still(frames, made, form)
        if not with_face:
            shown = f"Frames {plan.part.start_frame} to {plan.part.stop_frame - 1} were looked at."
            raise FaultError(FaultCode.NO_FACE_DETECTED, shown)
        sign_file(made, order.destination, Credential(claims=claims_of(plan), media_type=form.value), signatory)
    sources = {f"source {place}": source.report for place, source in enumerate(plan.sources, start=1)}
    sounds = {"audio": plan.audio.report} if plan.audio is not None else {}
    return Preview(
        path=order.destination,
        start_seconds=float(plan.part.start_frame / plan.timeline.fps),
        frame_count=plan.part.frame_count,
        frames_with_face=with_face,
        reports={"target": plan.target.report, **sounds, **sources},
    )


@contextmanager
def _changed(plan: Plan) -> Iterator[Iterator[Changed]]:
    """Open the changed frames of the part that is shown: lip-sync, then face swap, as the workers do them."""
    jobs = jobs_of(plan)
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


def _still(frames: Iterator[Changed], destination: Path, form: Form) -> int:
    changed = next(frames)
    settings = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if form is Form.JPEG else []
    done, encoded = cv2.imencode(destination.suffix.lower(), changed.pixels, settings)
    if not done:
        raise FaultError(FaultCode.INTERNAL)
    destination.write_bytes(encoded.tobytes())
    return int(changed.has_face)


def _clip(plan: Plan, frames: Iterator[Changed], destination: Path) -> int:
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
