"""Looking at the credential of a stored file: plain functions for the CPU pool, without Prefect."""

from typing import NamedTuple

from flows.workbench import scratch, store_of
from gpu_tasks.contract.artifacts import Digest
from gpu_tasks.contract.credentials import Verdict
from gpu_tasks.provenance.certificates import load_trust
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.provenance.verify import verify
from gpu_tasks.settings import R2Settings


class Examined(NamedTuple):
    """The bytes that were looked at, by digest, and what was found."""

    sha256: Digest
    verdict: Verdict


def examine(key: str, max_bytes: int, signing: SigningSettings, r2: R2Settings) -> Examined:
    """Fetch an object and look at its credential.

    Args:
        key: Of the object, as a client named it.
        max_bytes: A larger object is refused.
        signing: Whose signatures count.
        r2: Where the object lies.

    Raises:
        StorageError: OBJECT_MISSING, OBJECT_EMPTY, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE.
        ProvenanceError: INTERNAL when looking took too long.
    """
    with scratch() as folder:
        path = folder / "file"
        artifact = store_of(r2).fetch_key(key, path, max_bytes=max_bytes)
        return Examined(artifact.sha256, verify(path, load_trust(signing)))
