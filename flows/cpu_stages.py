"""The stages that need pixels but no GPU: plain functions that run in a process of the CPU pool.

Everything here is synchronous and imports no Prefect: a pool process starts in a moment and holds only media code.
Each function works in a scratch folder of its own, which is gone when it returns or raises.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from flows.footage import Assembly, Changes, Footage, Limits, Upload, Uploads, Whole
from flows.request import Trim
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import GateReport, MediaKind
from gpu_tasks.contract.jobs import Stage, digest_of
from gpu_tasks.contract.media import MediaInfo
from gpu_tasks.contract.tracks import TRACKS_MEDIA_TYPE
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import Admitted, admit_audio, admit_picture, admit_video
from gpu_tasks.media.join import join
from gpu_tasks.media.limits import MediaLimits
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect

# What the gate writes where it makes a file anew.
_MADE_AS = {MediaKind.VIDEO: "video/mp4", MediaKind.AUDIO: "audio/wav", MediaKind.PICTURE: "image/png"}
_WARM_UP_SIDE_PX = 64


def ingest(uploads: Uploads, r2: R2Settings) -> Footage:
    """Let the inputs through the gate, keep them where nobody overwrites them, and find the faces.

    What costs least comes first: a video without a face is found out last, but before any GPU is asked.

    Raises:
        MediaError: The gate refuses an input, the trim lies outside the target, or a source shows no face.
        FaultError: NO_FACE_DETECTED when the part of the target that is used shows none.
        StorageError: An input is missing, empty, too large, or the bucket is away.
    """
    store = _store(r2)
    with _scratch() as folder:
        door = _Door(store, uploads.limits, folder)
        target = door.target(uploads.target)
        media = _media(target.report)
        if media.video is None:
            raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Target, {uploads.target.key}.")
        audio = door.audio(uploads.audio) if uploads.audio else None
        seconds = _sound_seconds(audio.report) if audio else None
        trim = uploads.trim or Trim()
        timeline = plan_timeline(media.video, seconds, uploads.sync_mode, trim_start=trim.start, trim_end=trim.end)
        sources = [
            door.source(upload, f"Source {place} of {len(uploads.sources)}")
            for place, upload in enumerate(uploads.sources, start=1)
        ]
        models = face_models()
        found = folder / "tracks"
        faces = track_faces(target.path, found, models.detector, models.mesh, clip=timeline.clip)
        tracks = _keep(store, found, TRACKS_MEDIA_TYPE)
    return Footage(
        target=target.artifact,
        target_media=media,
        audio=audio.artifact if audio else None,
        audio_seconds=seconds,
        sources=tuple(source.artifact for source in sources),
        changes=Changes(
            target=target.report.changes,
            audio=audio.report.changes if audio else (),
            sources=tuple(source.report.changes for source in sources),
        ),
        faces=faces,
        tracks=tracks,
        timeline=timeline,
    )


def assemble(assembly: Assembly, r2: R2Settings) -> Whole:
    """Put the parts in a row without encoding again and lay the sound under them.

    Raises:
        MediaError: AUDIO_MERGE_FAILED when sound was asked for and there would be none; RESULT_MISSING when the parts
            do not add up; otherwise as `join`.
        StorageError: A part is gone, or the bucket is away.
    """
    store = _store(r2)
    with _scratch() as folder:
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
    with _scratch() as folder:
        picture = folder / "upload"
        _, content = cv2.imencode(".png", np.zeros((_WARM_UP_SIDE_PX, _WARM_UP_SIDE_PX, 3), np.uint8))
        picture.write_bytes(content.tobytes())
        admit_picture(picture, MediaLimits(), work_dir=folder)


class _Taken(NamedTuple):
    """An input that the gate let in: as it is kept, the local file, and what was done to it."""

    artifact: Artifact
    path: Path
    report: GateReport


class _Door(NamedTuple):
    """Where uploads come in: each is fetched, let through the gate or refused, and kept."""

    store: ArtifactStore
    limits: Limits
    folder: Path

    def target(self, upload: Upload) -> _Taken:
        limits = self._limits(self.limits.max_video_bytes)
        return self._take(
            upload, "Target", limits, lambda path: admit_video(path, limits, self.limits.gate, work_dir=path.parent)
        )

    def audio(self, upload: Upload) -> _Taken:
        limits = self._limits(self.limits.max_sound_bytes)
        return self._take(
            upload, "Audio", limits, lambda path: admit_audio(path, limits, self.limits.gate, work_dir=path.parent)
        )

    def source(self, upload: Upload, which: str) -> _Taken:
        limits = self._limits(self.limits.max_image_bytes)
        taken = self._take(upload, which, limits, lambda path: admit_picture(path, limits, work_dir=path.parent))
        if not face_models().detector.detect(read_image(taken.path)):
            raise MediaError(FaultCode.NO_FACE_IN_SOURCE, f"{which}, {upload.key}.")
        return taken

    def _limits(self, max_bytes: int) -> MediaLimits:
        return self.limits.media.model_copy(update={"max_bytes": max_bytes})

    def _take(self, upload: Upload, which: str, limits: MediaLimits, admit: Callable[[Path], Admitted]) -> _Taken:
        # A folder and a name of our own: nothing in a file can point at another one.
        folder = self.folder / which
        folder.mkdir()
        path = folder / "upload"
        fetched = self.store.fetch_key(upload.key, path, max_bytes=limits.max_bytes)
        try:
            admitted = admit(path)
        except MediaError as error:
            _, detail = error.args
            raise MediaError(error.fault.code, f"{which}, {upload.key}. {detail}".rstrip()) from error
        report = admitted.report
        media_type = fetched.media_type if report.conforms else _MADE_AS[report.kind]
        return _Taken(_keep(self.store, admitted.path, media_type), admitted.path, report)


def _keep(store: ArtifactStore, path: Path, media_type: str) -> Artifact:
    """Store a file under its digest, unless it is there already."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    key, size_bytes = f"{WORK}{Stage.INGEST}/{sha256}", path.stat().st_size
    if (head := store.head(key)) is not None and head.size_bytes == size_bytes:
        return Artifact(key=key, sha256=sha256, size_bytes=size_bytes, media_type=media_type)
    return store.put_file(path, key, media_type, if_absent=True)


def _media(report: GateReport) -> MediaInfo:
    if not isinstance(report.info, MediaInfo):
        raise TypeError("a report of a picture")
    return report.info


def _sound_seconds(report: GateReport) -> float:
    sound = _media(report).audio
    if sound is None:
        raise MediaError(FaultCode.NO_AUDIO_STREAM)
    return sound.duration_seconds


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lipswap-stage-") as folder:
        yield Path(folder)


@lru_cache(maxsize=4)
def _store(r2: R2Settings) -> ArtifactStore:
    # One connection pool per process; settings change when an operator edits the block.
    return connect(r2)
