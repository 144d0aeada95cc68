"""The stages that need pixels but no GPU: plain functions that run in a process of the CPU pool.

Everything here is synchronous and imports no Prefect: a pool process starts in a moment and holds only media code.
Each function works in a scratch folder of its own, which is gone when it returns or raises.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from flows.footage import Assembly, Footage, Limits, Upload, Uploads, Whole
from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import Stage, digest_of
from gpu_tasks.contract.media import FaceCoverage, MediaInfo
from gpu_tasks.draft.models import face_models
from gpu_tasks.media.audio import audio_seconds
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.join import join
from gpu_tasks.media.probe import probe
from gpu_tasks.media.reader import VideoReader
from gpu_tasks.media.still import read_image
from gpu_tasks.media.timeline import plan_timeline
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect

# A face that shows in one of this many frames, spread over the target, is enough to send the job.
_FRAMES_LOOKED_AT = 12
# A drive or a format error ends as silence of a few samples.
_SHORTEST_SOUND_SECONDS = 0.05


def ingest(uploads: Uploads, r2: R2Settings) -> Footage:
    """Copy the inputs to where nobody overwrites them, and find out whether a GPU can do anything with them.

    Raises:
        MediaError: An input is no sound media of its kind, is too long, or shows no face.
        StorageError: An input is missing, empty, too large, or the bucket is away.
    """
    store = _store(r2)
    limits = uploads.limits
    with _scratch() as folder:
        target, target_path = _take(store, uploads.target, folder / "target", limits.max_video_bytes)
        media = probe(target_path)
        if media.video is None:
            raise MediaError(FaultCode.NO_VIDEO_STREAM, f"Key: {uploads.target.key}.")
        audio, seconds = None, None
        if uploads.audio is not None:
            audio, audio_path = _take(store, uploads.audio, folder / "audio", limits.max_audio_bytes)
            seconds = _sound_seconds(audio_path, uploads.audio.key)
        timeline = plan_timeline(media.video, seconds, uploads.sync_mode)
        _check_length(timeline.duration_seconds, limits)
        sources = []
        for place, upload in enumerate(uploads.sources, start=1):
            source, path = _take(store, upload, folder / f"source-{place}", limits.max_image_bytes)
            _check_source(path, f"Source {place} of {len(uploads.sources)}, key {upload.key}.")
            sources.append(source)
        faces = _look_for_faces(target_path, media)
        if not faces.frames_with_face:
            raise MediaError(FaultCode.NO_FACE_DETECTED, f"{faces.frames_looked_at} frames were looked at.")
    return Footage(
        target=target,
        target_media=media,
        audio=audio,
        audio_seconds=seconds,
        sources=tuple(sources),
        faces=faces,
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
            parts, destination=whole, fps=timeline.fps, audio_from=sound, duration_seconds=timeline.duration_seconds
        )
        key = f"{WORK}{Stage.ASSEMBLE}/{digest_of(assembly.model_dump(mode='json'))}.mp4"
        # Another run may have put the same parts together; encoders of sound differ by version, so the last one wins.
        return Whole(artifact=store.put_file(whole, key, "video/mp4"), media=media)


def warm_up() -> None:
    """Load what every ingest needs, so that the first run of a process does not wait for it."""
    face_models()


def _take(store: ArtifactStore, upload: Upload, path: Path, max_bytes: int) -> tuple[Artifact, Path]:
    """Fetch an upload and store it again under its digest: a later overwrite of the upload changes nothing."""
    fetched = store.fetch_key(upload.key, path, max_bytes=max_bytes)
    key = f"{WORK}{Stage.INGEST}/{fetched.sha256}"
    if (head := store.head(key)) is not None and head.size_bytes == fetched.size_bytes:
        return fetched.model_copy(update={"key": key}), path
    return store.put_file(path, key, fetched.media_type, if_absent=True), path


def _sound_seconds(path: Path, key: str) -> float:
    if probe(path).audio is None or (seconds := audio_seconds(path)) < _SHORTEST_SOUND_SECONDS:
        raise MediaError(FaultCode.NO_AUDIO_STREAM, f"Key: {key}.")
    return seconds


def _check_length(seconds: float, limits: Limits) -> None:
    if seconds > limits.max_seconds:
        raise MediaError(
            FaultCode.MEDIA_UNSUPPORTED,
            f"The result would last {seconds:.0f} s; the limit is {limits.max_seconds:g} s.",
        )


def _check_source(path: Path, which: str) -> None:
    try:
        image = read_image(path)
    except MediaError as error:
        raise MediaError(error.fault.code, which) from error
    if not face_models().detector.detect(image):
        raise MediaError(FaultCode.NO_FACE_IN_SOURCE, which)


def _look_for_faces(path: Path, media: MediaInfo) -> FaceCoverage:
    """Look at frames spread evenly over a video, first and last included."""
    detector = face_models().detector
    count = media.video.frame_count if media.video else 0
    wanted = {round(place * (count - 1) / (_FRAMES_LOOKED_AT - 1)) for place in range(_FRAMES_LOOKED_AT)}
    looked_at = with_face = 0
    with VideoReader(path) as reader:
        for index in sorted(wanted):
            for frame in reader.frames(index, index + 1):
                looked_at += 1
                with_face += bool(detector.detect(frame.pixels))
    return FaceCoverage(frames_looked_at=looked_at, frames_with_face=with_face)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lipswap-stage-") as folder:
        yield Path(folder)


@lru_cache(maxsize=4)
def _store(r2: R2Settings) -> ArtifactStore:
    # One connection pool per process; settings change when an operator edits the block.
    return connect(r2)
