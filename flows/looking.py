"""Looks at media before anything is paid for: plain functions for the CPU pool, without Prefect.

What ingest keeps of an upload is kept here too: a look makes the run that follows quicker.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict

from flows.footage import Footage, Uploads
from flows.intake import Door, Taken
from flows.request import PreviewKind
from flows.showing import part_at, preview_claims, show_clip, show_still, tracked
from flows.taking import footage_of, lay_out, pictures_of, sources_of
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.credentials import InputClaim, Role
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Timeline
from gpu_tasks.contract.looks import MadePreview
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.one_pass import DraftOrder
from gpu_tasks.media.still import read_image
from gpu_tasks.provenance.certificates import load_signatory
from gpu_tasks.provenance.credential import Credential
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.sign import sign_file
from gpu_tasks.settings import R2Settings

PREVIEW_SECONDS: Final = 3.0
_SUFFIXES: Final = {PreviewKind.FRAME: (".jpg", "image/jpeg"), PreviewKind.CLIP: (".mp4", "video/mp4")}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreviewOrder(_Model):
    """What is to be shown of a request; its uploads as the bucket holds them."""

    uploads: Uploads
    selection: FaceSelection
    face_map: tuple[FaceMapping, ...]
    kind: PreviewKind
    at_seconds: float
    task_id: str
    consent: DeclaredConsent | None


class Shown(_Model):
    """A preview as it is kept."""

    artifact: Artifact
    preview: MadePreview


class Look(_Model):
    """What a target and its sound are; `footage` only when an earlier run has found all of it out."""

    video: VideoInfo
    timeline: Timeline
    footage: Footage | None


def preview(order: PreviewOrder, signing: SigningSettings, r2: R2Settings) -> Shown:
    """Make, sign and keep a preview.

    Raises:
        MediaError: The gate refuses an input; NO_FACE_IN_SOURCE.
        FaultError: REQUEST_INVALID when the moment lies after the end; NO_FACE_DETECTED when the part that is shown has
            none.
        ProvenanceError: As `sign_file`.
        StorageError: An input is gone, or the bucket is away.
    """
    store = store_of(r2)
    with scratch() as folder:
        door = Door(store, order.uploads.limits, folder)
        layout = lay_out(door, order.uploads)
        target, audio, timeline = layout.target, layout.audio, layout.timeline
        sources = sources_of(door, order.uploads)
        frame_count = 1 if order.kind is PreviewKind.FRAME else max(1, round(PREVIEW_SECONDS * timeline.fps))
        part = part_at(timeline, order.at_seconds, frame_count, field="at_seconds")
        models = face_models()
        draft = DraftOrder(
            target=target.path,
            timeline=timeline,
            tracks=folder / "glimpse",
            segment=part,
            driving_audio=audio.path if audio else None,
            sources=tuple(read_image(source.path) for source in sources),
            selection=order.selection,
            face_map=order.face_map,
        )
        tracked(draft, models)
        suffix, media_type = _SUFFIXES[order.kind]
        unsigned, signed = folder / f"unsigned{suffix}", folder / f"signed{suffix}"
        if order.kind is PreviewKind.FRAME:
            with_face = show_still(draft, unsigned, models)
        else:
            own = target.path if layout.media.audio else None
            with_face = show_clip(draft, unsigned, models, sound=audio.path if audio else own)
        if not with_face:
            shown = f"Frames {part.start_frame} to {part.stop_frame - 1} were looked at."
            raise FaultError(FaultCode.NO_FACE_DETECTED, shown)
        inputs = [_claim(Role.TARGET, target)]
        inputs += [_claim(Role.DRIVING_AUDIO, audio)] if audio else []
        inputs += [_claim(Role.SOURCE, source) for source in sources]
        consent_id = order.consent.id if order.consent else None
        claims = preview_claims(draft, inputs, task_id=order.task_id, consent_id=consent_id)
        sign_file(unsigned, signed, Credential(claims=claims, media_type=media_type), load_signatory(signing))
        artifact = store.put_file(signed, f"{WORK}preview/{order.task_id}{suffix}", media_type)
    return Shown(
        artifact=artifact,
        preview=MadePreview(
            key=artifact.key,
            media_type=media_type,
            width=layout.video.width,
            height=layout.video.height,
            duration_sec=0.0 if order.kind is PreviewKind.FRAME else round(float(part.frame_count / timeline.fps), 3),
        ),
    )


def look(uploads: Uploads, r2: R2Settings) -> Look:
    """Let a target and its sound through the gate and lay the result out; find no faces that nobody has found before.

    Raises:
        MediaError: The gate refuses an input, or the trim lies outside the target.
        StorageError: An input is gone, or the bucket is away.
    """
    with scratch() as folder:
        door = Door(store_of(r2), uploads.limits, folder)
        layout = lay_out(door, uploads)
        known = door.known_tracks(layout.target, layout.timeline, uploads.revisions)
        footage = footage_of(uploads, layout, pictures_of(door, uploads), *known) if known is not None else None
        return Look(video=layout.video, timeline=layout.timeline, footage=footage)


def _claim(role: Role, taken: Taken) -> InputClaim:
    return InputClaim.of(role, taken.artifact, handed_in=taken.handed_in)
