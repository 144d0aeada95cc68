"""All uploads of a request together: taken through the door, laid out in time, and told as the footage of a run."""

from typing import NamedTuple

from flows.footage import Changes, Footage, Uploads
from flows.intake import Door, Taken
from flows.request import Trim
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.contract.jobs import Reference, Timeline
from gpu_tasks.contract.lineage import HandedIn
from gpu_tasks.contract.media import MediaInfo, VideoInfo
from gpu_tasks.contract.tracks import FaceReport
from gpu_tasks.media.cutting import plan_segments
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.timeline import plan_timeline


class Layout(NamedTuple):
    """A target and its driving audio, and how the result lies on them."""

    target: Taken
    media: MediaInfo
    video: VideoInfo
    audio: Taken | None
    audio_seconds: float | None
    timeline: Timeline


class Pictures(NamedTuple):
    """Whose faces are put in, and pictures of whose faces are meant."""

    sources: list[Taken]
    references: list[Taken]


def lay_out(door: Door, uploads: Uploads) -> Layout:
    """Take a target and its sound, and lay the result out.

    Raises:
        MediaError: The gate refuses one of them, or the trim lies outside the target.
        StorageError: One of them is missing, empty, too large, or the bucket is away.
    """
    target = door.target(uploads.target)
    media = media_of(target.report)
    if media.video is None:
        raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Target, {uploads.target.key}.")
    audio = door.audio(uploads.audio) if uploads.audio else None
    seconds = _sound_seconds(audio.report) if audio else None
    trim = uploads.trim or Trim()
    timeline = plan_timeline(media.video, seconds, uploads.sync_mode, trim_start=trim.start, trim_end=trim.end)
    return Layout(target, media, media.video, audio, seconds, timeline)


def sources_of(door: Door, uploads: Uploads) -> list[Taken]:
    """Take the sources; raises as `Door.source`."""
    count = len(uploads.sources)
    return [door.source(upload, f"Source {place} of {count}") for place, upload in enumerate(uploads.sources, start=1)]


def pictures_of(door: Door, uploads: Uploads) -> Pictures:
    """Take sources and references; raises as `Door.source` and `Door.reference`."""
    sources, count = sources_of(door, uploads), len(uploads.references)
    references = [
        door.reference(upload, f"Reference {place} of {count}")
        for place, upload in enumerate(uploads.references, start=1)
    ]
    return Pictures(sources, references)


def footage_of(uploads: Uploads, layout: Layout, pictures: Pictures, faces: FaceReport, tracks: Artifact) -> Footage:
    """Tell what has been taken, and plan the segments.

    Raises:
        MediaError: The reader's, of the target.
    """
    target, audio, (sources, references) = layout.target, layout.audio, pictures
    return Footage(
        target=target.artifact,
        target_media=layout.media,
        audio=audio.artifact if audio else None,
        audio_seconds=layout.audio_seconds,
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
        timeline=layout.timeline,
        segments=plan_segments(
            layout.timeline, uploads.cutting, target=target.path, audio=audio.path if audio else None
        ),
    )


def media_of(report: GateReport) -> MediaInfo:
    """Return what the gate found in a video or a sound file."""
    if not isinstance(report.info, MediaInfo):
        raise TypeError("a report of a picture")
    return report.info


def _sound_seconds(report: GateReport) -> float:
    sound = media_of(report).audio
    if sound is None:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    return sound.duration_seconds
