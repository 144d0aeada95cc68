"""Sending a large file in parts: which are missing, and their bytes. The part that both clients share."""

import hashlib
from collections.abc import Iterable, Iterator
from mimetypes import guess_type
from pathlib import Path
from typing import IO, Final

import httpx

from api_shim import calls
from api_shim.wire import PartUrl, SentPart, UploadBegin, UploadBegun, UploadComplete
from gpu_tasks.contract.faults import Fault, FaultCode

# Asked for at once: URLs expire, and a slow line takes its time.
_PARTS_AT_ONCE: Final = 8


def announced(path: Path, kind: str) -> UploadBegin:
    """Return what `begin_upload` is told of a file; its digest is computed, so that the service can compare."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return UploadBegin(
        prefix=f"uploads/{kind}",
        filename=path.name,
        content_type=guess_type(path.name)[0] or "application/octet-stream",
        size=path.stat().st_size,
        sha256=digest,
    )


def missing(begun: UploadBegun, sent: Iterable[SentPart]) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of the parts that have not come, a few at a time."""
    there = {part.part_number for part in sent}
    numbers = [number for number in range(1, begun.part_count + 1) if number not in there]
    for start in range(0, len(numbers), _PARTS_AT_ONCE):
        yield tuple(numbers[start : start + _PARTS_AT_ONCE])


def read(file: IO[bytes], begun: UploadBegun, part: PartUrl) -> bytes:
    """Return the bytes of a part."""
    file.seek((part.part_number - 1) * begun.part_bytes)
    return file.read(part.size)


def taken(answer: httpx.Response, part: PartUrl) -> SentPart:
    """Return what completes the upload.

    Raises:
        ApiError: The bucket did not take the part.
    """
    if not answer.is_success or not answer.headers.get("etag"):
        fault = Fault(code=FaultCode.STORAGE_UNAVAILABLE, detail=f"The bucket answered {answer.status_code} to a part.")
        raise calls.ApiError(fault, status=answer.status_code)
    return SentPart(part_number=part.part_number, etag=answer.headers["etag"])


def complete(sent: Iterable[SentPart]) -> UploadComplete:
    """Return all parts in their order."""
    return UploadComplete(parts=tuple(sorted(sent, key=lambda part: part.part_number)))
