"""A person's files on the way into a preview: through the same gate as uploads, and described as artifacts."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gpu_tasks.contract.artifacts import WORK, Artifact
from gpu_tasks.contract.gate import GateReport
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.media.errors import MediaError
from gpu_tasks.media.gate import Admitted, admit_audio, admit_picture, admit_video
from gpu_tasks.media.limits import GatePolicy, MediaLimits


class Input(NamedTuple):
    """A file that the gate let in."""

    artifact: Artifact
    path: Path
    report: GateReport


class Gate(NamedTuple):
    """Lets files in; `folder` is where their copies lie."""

    folder: Path

    def target(self, file: Path) -> Input:
        """Let the target video in; raises MediaError, and OSError for a file that is not there."""
        return self._take(file, "target", lambda path: admit_video(path, _LIMITS, _POLICY, work_dir=path.parent))

    def audio(self, file: Path) -> Input:
        """Let the driving audio in; raises MediaError."""
        return self._take(file, "audio", lambda path: admit_audio(path, _LIMITS, _POLICY, work_dir=path.parent))

    def source(self, file: Path, place: int) -> Input:
        """Let a source picture in; raises MediaError."""
        return self._take(file, f"source-{place}", lambda path: admit_picture(path, _LIMITS, work_dir=path.parent))

    def _take(self, file: Path, which: str, admit: Callable[[Path], Admitted]) -> Input:
        file.stat()  # said of the person's own file, before it has another name
        # A name of ours in a folder of its own: nothing in a file can point at another one.
        folder = self.folder / which
        folder.mkdir()
        path = folder / "upload"
        try:
            os.link(file.resolve(), path)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, path)
        try:
            admitted = admit(path)
        except MediaError as error:
            _, detail = error.args
            raise MediaError(error.fault.code, f"{file.name}. {detail}".rstrip()) from error
        return Input(_artifact(admitted.path), admitted.path, admitted.report)


_LIMITS, _POLICY = MediaLimits(), GatePolicy()


def _artifact(path: Path) -> Artifact:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Artifact(
        key=f"{WORK}{Stage.INGEST}/{sha256}",
        sha256=sha256,
        size_bytes=path.stat().st_size,
        media_type="application/octet-stream",
    )
