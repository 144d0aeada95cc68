"""Where uploads come in: fetched, let through the gate or refused, their faces tracked, and all of it kept.

What is kept has the digest of its bytes in its name; what was found out about a file is kept under the digest of all
that it depends on. The same video in ten languages is made conforming once and tracked once, whoever asks.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from flows.footage import Limits, Upload
from gpu_tasks.contract.artifacts import WORK, Artifact, Digest
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.gate import GateReport, MediaKind
from gpu_tasks.contract.jobs import Stage, Timeline, digest_of
from gpu_tasks.contract.tracks import TRACKS_MEDIA_TYPE, FaceReport
from gpu_tasks.draft.models import face_models
from gpu_tasks.faces.pictures import faces_in
from gpu_tasks.faces.tracks import track_faces
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import GATE_REVISION, Admitted, admit_audio, admit_picture, admit_video
from gpu_tasks.media.limits import MediaLimits
from gpu_tasks.media.still import read_image
from gpu_tasks.storage import ArtifactStore

# What the gate writes where it makes a file anew.
_MADE_AS = {MediaKind.VIDEO: "video/mp4", MediaKind.AUDIO: "audio/wav", MediaKind.PICTURE: "image/png"}
_FOLDER = f"{WORK}{Stage.INGEST}"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Admission(_Model):
    """What the gate has said of some bytes, and the bytes that are used in their place."""

    artifact: Artifact
    report: GateReport


class _Tracking(_Model):
    """What was seen in a clip, and where the tracks are."""

    artifact: Artifact
    report: FaceReport


_Finding = TypeVar("_Finding", _Admission, _Tracking)


class Taken(NamedTuple):
    """An input that the gate let in: as it is kept, the local file, what was done to it, the digest it came with."""

    artifact: Artifact
    path: Path
    report: GateReport
    handed_in: Digest


class Door(NamedTuple):
    """The way in, for one ingest; `folder` is its scratch folder."""

    store: ArtifactStore
    limits: Limits
    folder: Path

    def target(self, upload: Upload) -> Taken:
        """Take a target video.

        Raises:
            MediaError: The gate refuses it.
            StorageError: It is gone, empty or too large, or the bucket is away.
        """
        limits = self._limits(self.limits.max_video_bytes)
        gate = self.limits.gate
        return self._take(
            MediaKind.VIDEO,
            upload,
            "Target",
            limits,
            lambda path: admit_video(path, limits, gate, work_dir=path.parent),
        )

    def audio(self, upload: Upload) -> Taken:
        """Take a driving audio, which may be a video with sound; raises as `target`."""
        limits, gate = self._limits(self.limits.max_sound_bytes), self.limits.gate

        def admit(path: Path) -> Admitted:
            return admit_audio(path, limits, gate, work_dir=path.parent)

        return self._take(MediaKind.AUDIO, upload, "Audio", limits, admit)

    def source(self, upload: Upload, which: str) -> Taken:
        """Take a source picture; raises as `target`, and NO_FACE_IN_SOURCE."""
        taken = self._picture(upload, which)
        if not _faces_of(taken):
            raise MediaError(FaultCode.NO_FACE_IN_SOURCE, f"{which}, {upload.key}.")
        return taken

    def reference(self, upload: Upload, which: str) -> Taken:
        """Take a picture of who is meant; raises as `target`, NO_FACE_IN_REFERENCE, SEVERAL_FACES_IN_REFERENCE.

        Of a source's faces the largest is a good guess; the wrong one here would change the face of somebody else.
        """
        taken = self._picture(upload, which)
        count = _faces_of(taken)
        if not count:
            raise MediaError(FaultCode.NO_FACE_IN_REFERENCE, f"{which}, {upload.key}.")
        if count > 1:
            raise MediaError(FaultCode.SEVERAL_FACES_IN_REFERENCE, f"{which}, {upload.key}: {count} are seen.")
        return taken

    def tracks(self, target: Taken, timeline: Timeline, revisions: dict[str, str]) -> tuple[FaceReport, Artifact]:
        """Follow the faces of the part of the target that is used, and keep the tracks.

        Args:
            target: The clip.
            timeline: Which part of it.
            revisions: Of whatever may find other faces in the same clip.

        Raises:
            MediaError: NO_FACE_DETECTED, or as the reader's.
        """
        known = self.known_tracks(target, timeline, revisions)
        if known is None:
            found, models = self.folder / "tracks", face_models()
            report = track_faces(target.path, found, models.detector, models.mesh, clip=timeline.clip)
            tracking = _Tracking(artifact=keep(self.store, found, TRACKS_MEDIA_TYPE), report=report)
            self._remember(_tracks_name(target, timeline, revisions), tracking)
            return tracking.report, tracking.artifact
        return known

    def known_tracks(
        self, target: Taken, timeline: Timeline, revisions: dict[str, str]
    ) -> tuple[FaceReport, Artifact] | None:
        """Return what `tracks` would, when somebody has asked it before; else None."""
        known = self._recall(_tracks_name(target, timeline, revisions), _Tracking)
        return (known.report, known.artifact) if known is not None else None

    def _picture(self, upload: Upload, which: str) -> Taken:
        limits = self._limits(self.limits.max_image_bytes)

        def admit(path: Path) -> Admitted:
            return admit_picture(path, limits, work_dir=path.parent)

        return self._take(MediaKind.PICTURE, upload, which, limits, admit)

    def _limits(self, max_bytes: int) -> MediaLimits:
        return self.limits.media.model_copy(update={"max_bytes": max_bytes})

    def _take(
        self, kind: MediaKind, upload: Upload, which: str, limits: MediaLimits, admit: Callable[[Path], Admitted]
    ) -> Taken:
        # A folder and a name of our own: nothing in a file can point at another one.
        folder = self.folder / which
        folder.mkdir()
        path = folder / "upload"
        fetched = self.store.fetch_key(upload.key, path, max_bytes=limits.max_bytes, etag=upload.etag)
        bounds = [limits.model_dump(mode="json"), self.limits.gate.model_dump(mode="json")]
        key = _name("gate", GATE_REVISION, kind, fetched.sha256, fetched.media_type, bounds)
        admission = self._recall(key, _Admission)
        if admission is None:
            try:
                path, report = admit(path)
            except MediaError as error:
                _, detail = error.args
                raise MediaError(error.fault.code, f"{which}, {upload.key}. {detail}".rstrip()) from error
            media_type = fetched.media_type if report.conforms else _MADE_AS[kind]
            admission = _Admission(artifact=keep(self.store, path, media_type), report=report)
            self._remember(key, admission)
        elif not admission.report.conforms:
            path = folder / "made-before"
            self.store.fetch(admission.artifact, path)
        return Taken(admission.artifact, path, admission.report, fetched.sha256)

    def _recall(self, key: str, kind: type[_Finding]) -> _Finding | None:
        """Return what was found out before, unless the bytes that it names have expired."""
        known = self.store.read_json(key, kind)
        return known if known is not None and _is_there(self.store, known.artifact) else None

    def _remember(self, key: str, finding: _Admission | _Tracking) -> None:
        # After its artifact; where two find out the same at once, either will do. Refusals are not kept.
        self.store.put_json(key, finding, if_absent=False)


def _tracks_name(target: Taken, timeline: Timeline, revisions: dict[str, str]) -> str:
    return _name("tracks", target.artifact.sha256, timeline.clip.model_dump(mode="json"), revisions)


def _faces_of(picture: Taken) -> int:
    models = face_models()
    return len(faces_in(read_image(picture.path), models.detector, models.mesh))


def _name(*asked: object) -> str:
    return f"{_FOLDER}/{digest_of(list(asked))}.json"


def keep(store: ArtifactStore, path: Path, media_type: str) -> Artifact:
    """Store a file under its digest, unless it is there already.

    Raises:
        StorageError: The bucket is away.
    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    artifact = Artifact(key=f"{_FOLDER}/{sha256}", sha256=sha256, size_bytes=path.stat().st_size, media_type=media_type)
    return artifact if _is_there(store, artifact) else store.put_file(path, artifact.key, media_type, if_absent=True)


def _is_there(store: ArtifactStore, artifact: Artifact) -> bool:
    return (head := store.head(artifact.key)) is not None and head.size_bytes == artifact.size_bytes
