"""A glimpse of the draft result without any stack: what the workers would make of a few frames, signed like it all."""

import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deployments.preview.planning import FORMS, THREADS, Form, PreviewOrder, claims_of, plan_of
from flows.showing import show_clip, show_still
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.draft.models import face_models
from gpu_tasks.provenance.certificates import Signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.sign import sign_file


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
        models, part = face_models(THREADS), plan.draft.frames
        if form is Form.CLIP:
            with_face = show_clip(plan.draft, made, models, sound=plan.sound)
        else:
            with_face = show_still(plan.draft, made, models)
        if not with_face:
            shown = f"Frames {part.start_frame} to {part.stop_frame - 1} were looked at."
            raise FaultError(FaultCode.NO_FACE_DETECTED, shown)
        sign_file(made, order.destination, Credential(claims=claims_of(plan), media_type=form.value), signatory)
    sources = {f"source {place}": source.report for place, source in enumerate(plan.sources, start=1)}
    sounds = {"audio": plan.audio.report} if plan.audio is not None else {}
    return Preview(
        path=order.destination,
        start_seconds=float(part.start_frame / plan.draft.timeline.fps),
        frame_count=part.frame_count,
        frames_with_face=with_face,
        reports={"target": plan.target.report, **sounds, **sources},
    )
