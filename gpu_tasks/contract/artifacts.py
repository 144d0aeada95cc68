"""Immutable stored objects and the grammar of the keys under which they live."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# A key is at most 512 bytes and each segment 200: object stores allow more, but file systems behind local ones
# stop at 255 bytes a name (measured on SeaweedFS).
MAX_KEY_BYTES = 512
MAX_SEGMENT_BYTES = 200

# First folder of every key in the bucket and who writes there.
UPLOADS = "uploads/"  # clients: uploads/{audio,video,source}/...
WORK = "work/"  # workers and CPU stages: content-addressed, expired by lifecycle
OUTPUTS = "outputs/"  # results
RESULTS = "results/"  # Prefect's task results: JSON of keys and digests
AUDIT = "audit/"  # what was asked, signed and deleted: hash-chained, never a client's to read or write
LINEAGE = "lineage/"  # what each output was made of and by what, and which are made anew: as long as the outputs
KEYS = "keys/"  # API keys by id, hashed: never a client's to read or write
PREFIXES = (UPLOADS, WORK, OUTPUTS, RESULTS, AUDIT, LINEAGE, KEYS)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_key(key: str) -> str:
    """Return `key` when it follows the grammar.

    Raises:
        ValueError: With a sentence that says which rule the key breaks.
    """
    if unicodedata.normalize("NFC", key) != key:
        raise ValueError("an object key must be in Unicode form NFC")
    if _CONTROL.search(key) or "\\" in key:
        raise ValueError("an object key has no control characters and no backslash")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise ValueError(f"an object key has at most {MAX_KEY_BYTES} bytes")
    segments = key.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise ValueError("an object key has no empty, '.' or '..' segment")
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        raise ValueError(f"a segment of an object key has at most {MAX_SEGMENT_BYTES} bytes")
    if not key.startswith(PREFIXES):
        raise ValueError(f"an object key starts with one of {', '.join(PREFIXES)}")
    return key


def _check_client_input(key: str) -> str:
    if not key.startswith((UPLOADS, OUTPUTS)):
        raise ValueError(f"an input key starts with {UPLOADS} or {OUTPUTS}")
    return key


def _check_client_output(key: str) -> str:
    if not key.startswith(OUTPUTS):
        raise ValueError(f"an output key starts with {OUTPUTS}")
    return key


ObjectKey = Annotated[str, AfterValidator(check_key)]
InputKey = Annotated[ObjectKey, AfterValidator(_check_client_input)]
OutputKey = Annotated[ObjectKey, AfterValidator(_check_client_output)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Artifact(BaseModel):
    """An immutable stored object: where it is, what it is, and the digest that proves it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: ObjectKey
    sha256: Digest
    size_bytes: int = Field(gt=0)
    media_type: str


class WorkKeys(BaseModel):
    """The keys of one job's claims, start markers, ends, outputs and receipt; the fingerprint is the folder."""

    model_config = ConfigDict(frozen=True)

    stage: str
    fingerprint: Digest

    @property
    def folder(self) -> str:
        return f"{WORK}{self.stage}/{self.fingerprint}"

    @property
    def receipt(self) -> str:
        return f"{self.folder}/receipt.json"

    def claim(self, attempt: int) -> str:
        return f"{self.folder}/claim-{attempt}.json"

    def started(self, attempt: int, execution: int) -> str:
        """Key of the start marker; RunPod may run one attempt again, so every execution has its own."""
        return f"{self.folder}/started-{attempt}{_again(execution)}.json"

    def ended(self, attempt: int) -> str:
        """Key of how the attempt ended."""
        return f"{self.folder}/ended-{attempt}.json"

    def output(self, attempt: int, execution: int, suffix: str = ".mp4") -> str:
        """Key of the output; no two executions share one, so a zombie never overwrites a result."""
        return f"{self.folder}/attempt-{attempt}{_again(execution)}{suffix}"


def _again(execution: int) -> str:
    return "" if execution == 1 else f".{execution}"
