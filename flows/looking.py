"""Looks at media before anything is paid for: plain functions for the CPU pool, without Prefect.

What ingest keeps of an upload is kept here too: a look makes the run that follows quicker.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict

from flows.cpu_stages import media_of, sound_seconds
from flows.footage import Changes, Footage, Uploads
from flows.intake import Door, Taken
from flows.request import PreviewKind, Trim
from flows.showing import part_at, preview_claims, show_clip, show_still, tracked
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.consent import DeclaredConsent
from gpu_tasks.contract.credentials import InputClaim, Role
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.jobs import Reference, Timeline
from gpu_tasks.contract.lineage import HandedIn
from gpu_tasks.contract.looks import MadePreview
from gpu_tasks.contract.media import VideoInfo
from gpu_tasks.contract.options import FaceMapping, FaceSelection
from gpu_tasks.draft.models import face_models
from gpu_tasks.draft.one_pass import DraftOrder
from gpu_tasks.media.cutting import plan_segments
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline
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
        target, audio, timeline = _target_and_sound(door, order.uploads)
        sources = [
            door.source(upload, f"Source {place} of {len(order.uploads.sources)}")
            for place, upload in enumerate(order.uploads.sources, start=1)
        ]
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
            own = target.path if media_of(target.report).audio else None
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
    video = media_of(target.report).video
    return Shown(
        artifact=artifact,
        preview=MadePreview(
            key=artifact.key,
            media_type=media_type,
            width=video.width if video else 0,
            height=video.height if video else 0,
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
        target, audio, timeline = _target_and_sound(door, uploads)
        media = media_of(target.report)
        if media.video is None:
            raise MediaError(FaultCode.NO_VIDEO_STREAM)
        known = door.known_tracks(target, timeline, uploads.revisions)
        footage = None
        if known is not None:
            sources = [door.source(upload, f"Source {place}") for place, upload in enumerate(uploads.sources, start=1)]
            references = [
                door.reference(upload, f"Reference {place}") for place, upload in enumerate(uploads.references, start=1)
            ]
            faces, tracks = known
            footage = Footage(
                target=target.artifact,
                target_media=media,
                audio=audio.artifact if audio else None,
                audio_seconds=sound_seconds(audio.report) if audio else None,
                sources=tuple(source.artifact for source in sources),
                references=tuple(
                    Reference(named=upload.key, picture=taken.artifact)
                    for upload, taken in zip(uploads.references, references, strict=True)
                ),
                handed_in=HandedIn(
                    target=target.handed_in,
                    audio=audio.handed_in if audio else None,
                    sources=tuple(source.handed_in for source in sources),
                    references=tuple(reference.handed_in for reference in references),
                ),
                changes=Changes(),
                faces=faces,
                tracks=tracks,
                timeline=timeline,
                segments=plan_segments(
                    timeline, uploads.cutting, target=target.path, audio=audio.path if audio else None
                ),
            )
        return Look(video=media.video, timeline=timeline, footage=footage)


def _target_and_sound(door: Door, uploads: Uploads) -> tuple[Taken, Taken | None, Timeline]:
    target = door.target(uploads.target)
    media = media_of(target.report)
    if media.video is None:
        raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Target, {uploads.target.key}.")
    audio = door.audio(uploads.audio) if uploads.audio else None
    seconds = sound_seconds(audio.report) if audio else None
    trim = uploads.trim or Trim()
    timeline = plan_timeline(media.video, seconds, uploads.sync_mode, trim_start=trim.start, trim_end=trim.end)
    return target, audio, timeline


def _claim(role: Role, taken: Taken) -> InputClaim:
    return InputClaim.of(role, taken.artifact, handed_in=taken.handed_in)
