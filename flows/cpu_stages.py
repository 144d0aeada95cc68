"""The stages that need pixels but no GPU: plain functions that run in a process of the CPU pool.

Everything here is synchronous and imports no Prefect: a pool process starts in a moment and holds only media code.
Each function works in a scratch folder of its own, which is gone when it returns or raises.
"""

import cv2
import numpy as np

from flows.footage import Assembly, Changes, Footage, Uploads, Whole
from flows.intake import Door
from flows.request import Trim
from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.contract.jobs import Reference, Stage, digest_of
from gpu_tasks.contract.lineage import HandedIn
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.draft.models import face_models
from gpu_tasks.media.cutting import plan_segments
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import admit_picture
from gpu_tasks.media.join import join
from gpu_tasks.media.limits import MediaLimits
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.settings import R2Settings

_WARM_UP_SIDE_PX = 64


def ingest(uploads: Uploads, r2: R2Settings) -> Footage:
    """Let the inputs through the gate, keep them where nobody overwrites them, and find the faces.

    What costs least comes first: a video without a face is found out last, but before any GPU is asked.

    Raises:
        MediaError: The gate refuses an input, the trim lies outside the target, a source or a reference shows no
            face, or a reference several.
        FaultError: NO_FACE_DETECTED when the part of the target that is used shows none.
        StorageError: An input is missing, empty, too large, or the bucket is away.
    """
    store = store_of(r2)
    with scratch() as folder:
        door = Door(store, uploads.limits, folder)
        target = door.target(uploads.target)
        media = media_of(target.report)
        if media.video is None:
            raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Target, {uploads.target.key}.")
        audio = door.audio(uploads.audio) if uploads.audio else None
        seconds = sound_seconds(audio.report) if audio else None
        trim = uploads.trim or Trim()
        timeline = plan_timeline(media.video, seconds, uploads.sync_mode, trim_start=trim.start, trim_end=trim.end)
        sources = [
            door.source(upload, f"Source {place} of {len(uploads.sources)}")
            for place, upload in enumerate(uploads.sources, start=1)
        ]
        references = [
            door.reference(upload, f"Reference {place} of {len(uploads.references)}")
            for place, upload in enumerate(uploads.references, start=1)
        ]
        faces, tracks = door.tracks(target, timeline, uploads.revisions)
        segments = plan_segments(timeline, uploads.cutting, target=target.path, audio=audio.path if audio else None)
    return Footage(
        target=target.artifact,
        target_media=media,
        audio=audio.artifact if audio else None,
        audio_seconds=seconds,
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
        changes=Changes(
            target=target.report.changes,
            audio=audio.report.changes if audio else (),
            sources=tuple(source.report.changes for source in sources),
            references=tuple(reference.report.changes for reference in references),
        ),
        faces=faces,
        tracks=tracks,
        timeline=timeline,
        segments=segments,
    )


def assemble(assembly: Assembly, r2: R2Settings) -> Whole:
    """Put the parts in a row without encoding again and lay the sound under them.

    Raises:
        MediaError: AUDIO_MERGE_FAILED when sound was asked for and there would be none; RESULT_MISSING when the parts
            do not add up; otherwise as `join`.
        StorageError: A part is gone, or the bucket is away.
    """
    store = store_of(r2)
    with scratch() as folder:
        parts = []
        for place, part in enumerate(assembly.parts):
            path = folder / f"part-{place}.mp4"
            store.fetch(part, path)
            parts.append(path)
        sound = None
        if assembly.sound is not None:
            sound = folder / "sound"
            store.fetch(assembly.sound, sound)
        whole = folder / "whole.mp4"
        timeline = assembly.timeline
        media = join(
            parts,
            destination=whole,
            fps=timeline.fps,
            audio_from=sound,
            duration_seconds=timeline.duration_seconds,
            audio_start_seconds=assembly.sound_start,
        )
        key = f"{WORK}{Stage.ASSEMBLE}/{digest_of(assembly.model_dump(mode='json'))}.mp4"
        # Another run may have put the same parts together; encoders of sound differ by version, so the last one wins.
        return Whole(artifact=store.put_file(whole, key, "video/mp4"), media=media)


def warm_up() -> None:
    """Load what every ingest needs, so that the first run of a process does not wait for it."""
    face_models()
    with scratch() as folder:
        picture = folder / "upload"
        _, content = cv2.imencode(".png", np.zeros((_WARM_UP_SIDE_PX, _WARM_UP_SIDE_PX, 3), np.uint8))
        picture.write_bytes(content.tobytes())
        admit_picture(picture, MediaLimits(), work_dir=folder)


def media_of(report: GateReport) -> MediaInfo:
    """Return what the gate found in a video or a sound file."""
    if not isinstance(report.info, MediaInfo):
        raise TypeError("a report of a picture")
    return report.info


def sound_seconds(report: GateReport) -> float:
    """Return how long a sound is.

    Raises:
        MediaError: NO_AUDIO_STREAM.
    """
    sound = media_of(report).audio
    if sound is None:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    return sound.duration_seconds
