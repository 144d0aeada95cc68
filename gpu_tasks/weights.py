"""The weights on this machine: fetched, verified against the manifest, and used only under acknowledged licences.

A file whose digest nobody has published is trusted when it is first fetched or used (see `first_use`); from then on
another file in its place is corrupt.
"""

import errno
import hashlib
import logging
import os
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from gpu_tasks.acknowledgements import acknowledged_in
from gpu_tasks.asking import RefusedError
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.manifest import Manifest, ModelEntry, manifest
from gpu_tasks.downloads import Download, DownloadLimits, Report
from gpu_tasks.first_use import LockedModel, locked_in, trust
from gpu_tasks.replacing import exclusive
from gpu_tasks.settings import WeightSettings

_log = logging.getLogger(__name__)

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Trust(StrEnum):
    """Why a file is believed to be the right one."""

    MANIFEST = "manifest"  # its digest stands in the manifest
    LOCK = "lock"  # it is the one that was trusted at first use
    FIRST_USE = "first_use"  # nobody knows its digest: trusted now


class Verified(NamedTuple):
    """A file that was read from its first to its last byte."""

    path: Path
    sha256: str
    size_bytes: int
    trust: Trust


class _Signature(NamedTuple):
    """What changes when somebody puts another file in the place of one that was read."""

    inode: int
    size_bytes: int
    changed_ns: int


class WeightStore:
    """The models in one folder. Processes and threads may share the folder; a store belongs to one thread.

    Args:
        folder: Where the files lie, flat; need not exist.
        manifest: What may run.
        acknowledged: Names of licences that somebody has acknowledged in settings; those of the folder count as well.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, acknowledged: frozenset[str] = frozenset()) -> None:
        self.folder = folder
        self.manifest = manifest
        self._acknowledged = acknowledged
        self._verified: dict[str, tuple[_Signature, Verified]] = {}

    def path(self, model_id: str) -> Path:
        """Return the local file of a model, verified; a second call reads it again only when it has changed.

        Raises:
            FaultError: LICENCE_NOT_ACKNOWLEDGED naming the licence, MODEL_MISSING, MODEL_CORRUPT with the expected and
                the found digest, REQUEST_INVALID when no such model is known.
        """
        self.check_licence(model_id)
        return self.verify(model_id).path

    def verify(self, model_id: str) -> Verified:
        """Read a model's file and compare it; needs no acknowledgement.

        Raises:
            FaultError: As `path`.
        """
        entry = self.manifest.entry(model_id)
        path = self.place(model_id)
        signature = _signature(path)
        if signature is None:
            raise FaultError(FaultCode.MODEL_MISSING, f"{model_id}: {entry.file}.")
        known = self._verified.get(model_id)
        if known is not None and known[0] == signature:
            return known[1]
        expected, why = self._expected(model_id, entry)
        found = _digest(path)
        if why is Trust.FIRST_USE:
            expected = self._trust(model_id, entry, found, signature.size_bytes, host=None)
        if found != expected:
            raise _corrupt(entry, expected, found)
        verified = Verified(path, found, signature.size_bytes, why)
        self._verified[model_id] = (signature, verified)
        return verified

    def pull(
        self, model_id: str, *, limits: DownloadLimits | None = None, report: Report = lambda _have, _total: None
    ) -> Path:
        """Fetch a model unless the right file is there; safe beside other processes that pull the same one.

        Args:
            model_id: The model; what it needs is pulled by its own name (see `Manifest.with_needs`).
            limits: How long and how much.
            report: Called as bytes come.

        Raises:
            FaultError: LICENCE_NOT_ACKNOWLEDGED, MODEL_NOT_FETCHED with the reason of each host, MODEL_CORRUPT when
                what came is not what is expected, DISK_FULL, REQUEST_INVALID.
            OSError: The folder cannot be written.
        """
        entry = self.manifest.entry(model_id)
        self.check_licence(model_id)
        if entry.bundled:
            return self.verify(model_id).path
        limits = limits or DownloadLimits()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self.folder / f".{entry.file}.pulling", seconds=limits.deadline_seconds):
                return self._right_file(model_id) or self._pull(model_id, entry, limits, report)
        except TimeoutError as error:
            raise FaultError(FaultCode.MODEL_NOT_FETCHED, f"{entry.file}: another process is at it.") from error
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise FaultError(FaultCode.DISK_FULL, f"{entry.file} does not fit.") from error
            raise

    def check_licence(self, model_id: str) -> None:
        """Pass when a model may be used here.

        Raises:
            FaultError: LICENCE_NOT_ACKNOWLEDGED, REQUEST_INVALID.
        """
        licence = self.manifest.to_acknowledge(model_id)
        if licence is not None and licence not in self.acknowledged:
            raise FaultError(FaultCode.LICENCE_NOT_ACKNOWLEDGED, f"{model_id} is under {licence}.")

    def expect(self, model_id: str) -> None:
        """Pass when a model, and all that it cannot run without, is here and may be used; no file is read.

        Raises:
            FaultError: LICENCE_NOT_ACKNOWLEDGED, MODEL_MISSING, REQUEST_INVALID.
        """
        for each in self.manifest.with_needs(model_id):
            self.check_licence(each)
            if not self.place(each).is_file():
                raise FaultError(FaultCode.MODEL_MISSING, f"{each}: {self.manifest.entry(each).file}.")

    @property
    def acknowledged(self) -> frozenset[str]:
        """The licences that were acknowledged, in settings or for this folder."""
        return self._acknowledged | acknowledged_in(self.folder)

    def place(self, model_id: str) -> Path:
        """Return where a model's file lies or would lie; nothing is looked at."""
        entry = self.manifest.entry(model_id)
        if entry.bundled:
            return Path(str(files("gpu_tasks.draft").joinpath("models", entry.file)))
        return self.folder / entry.file

    def _right_file(self, model_id: str) -> Path | None:
        try:
            return self.verify(model_id).path
        except FaultError as error:
            if error.fault.code in {FaultCode.MODEL_MISSING, FaultCode.MODEL_CORRUPT}:
                return None
            raise

    def _pull(self, model_id: str, entry: ModelEntry, limits: DownloadLimits, report: Report) -> Path:
        locked = locked_in(self.folder).get(model_id)
        # Another release of a model is another file: what was trusted of the old one says nothing of it.
        kept = locked if locked is not None and locked.release == entry.release else None
        expected = entry.sha256 or (kept.sha256 if kept else None)
        size_bytes = entry.size_bytes or (kept.size_bytes if kept else None)
        reasons, corrupt = [], None
        for url in entry.urls:
            host = urlsplit(url).hostname
            download = Download(
                name=entry.file,
                url=url,
                destination=self.folder / f"{entry.file}.part",
                size_bytes=size_bytes,
                digest_known=expected is not None,
                limits=limits,
                report=report,
            )
            try:
                found = _fetch(download, expected)
            except RefusedError as refusal:
                reasons.append(f"{host}: {refusal}.")
                continue
            if expected is not None and found != expected:
                corrupt = _corrupt(entry, expected, found)
                continue
            # The lock before the file: whatever happens in between, the next file must be this one.
            if expected is None:
                self._trust(model_id, entry, found, download.destination.stat().st_size, host=host)
            download.destination.replace(self.folder / entry.file)
            return self.verify(model_id).path
        if corrupt is not None:
            raise corrupt
        raise FaultError(FaultCode.MODEL_NOT_FETCHED, f"{entry.file}: {' '.join(reasons) or 'no address is known.'}")

    def _expected(self, model_id: str, entry: ModelEntry) -> tuple[str, Trust]:
        """Return the digest that a model's file must have, an empty one where nobody knows it yet."""
        if entry.sha256 is not None:
            return entry.sha256, Trust.MANIFEST
        locked = locked_in(self.folder).get(model_id)
        if locked is None:
            return "", Trust.FIRST_USE
        if locked.release != entry.release:
            raise FaultError(
                FaultCode.MODEL_MISSING, f"{entry.file} is there of {locked.release}, {entry.release} is expected."
            )
        return locked.sha256, Trust.LOCK

    def _trust(self, model_id: str, entry: ModelEntry, sha256: str, size_bytes: int, *, host: str | None) -> str:
        """Trust a file; return the digest that counts: another process may have trusted another one first."""
        _log.warning("trusted at first use", extra={"facts": {"model": model_id, "sha256": sha256, "host": host}})
        file = LockedModel(sha256=sha256, size_bytes=size_bytes, release=entry.release, host=host)
        return trust(self.folder, model_id, file).sha256


def open_weights(settings: WeightSettings) -> WeightStore:
    """Return the store that the settings describe, under the manifest of this version."""
    return WeightStore(settings.weights, manifest(), acknowledged=settings.acknowledged_licences)


def _fetch(download: Download, expected: str | None) -> str:
    """Fetch and return the digest; what was taken up again and came out wrong is fetched once more from the start."""
    had_part = download.run()
    found = _digest(download.destination)
    if expected is not None and found != expected:
        download.forget()
        if had_part:
            download.run()
            found = _digest(download.destination)
    if expected is not None and found != expected:
        download.forget()
    else:
        with download.destination.open("rb") as file:
            os.fsync(file.fileno())
    return found


def _corrupt(entry: ModelEntry, expected: str, found: str) -> FaultError:
    return FaultError(FaultCode.MODEL_CORRUPT, f"{entry.file}: expected sha256 {expected}, found {found}.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _Signature(status.st_ino, status.st_size, max(status.st_mtime_ns, status.st_ctime_ns))
