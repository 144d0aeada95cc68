"""Manifests of one model, and stores for them."""

import hashlib
from pathlib import Path

from gpu_tasks.contract.manifest import LicenceTerms, Manifest, ModelEntry
from gpu_tasks.downloads import DownloadLimits
from gpu_tasks.weights import WeightStore

RESTRICTED = "LicenseRef-Test-NonCommercial"
COPYLEFT = "GPL-3.0-only"
QUICK = DownloadLimits(deadline_seconds=60.0, stall_seconds=30.0, tries=3, first_pause_seconds=0.01)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(*urls: str, content: bytes | None = None, licence: str = "MIT", release: str = "v1") -> ModelEntry:
    """A model at these addresses; with `content` its digest and size are published."""
    return ModelEntry(
        file="model.onnx",
        urls=urls,
        release=release,
        vendor="Somebody",
        licence=licence,
        commercial_use=licence != RESTRICTED,
        sha256=digest(content) if content is not None else None,
        size_bytes=len(content) if content is not None else None,
    )


def store(folder: Path, model: ModelEntry, *, acknowledged: frozenset[str] = frozenset()) -> WeightStore:
    manifest = Manifest(
        models={"model": model},
        licences={
            "MIT": LicenceTerms(summary="Free."),
            RESTRICTED: LicenceTerms(summary="Not for money."),
            COPYLEFT: LicenceTerms(summary="Pass it on.", acknowledge=True),
        },
    )
    return WeightStore(folder, manifest, acknowledged=acknowledged)
