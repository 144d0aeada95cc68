"""Large files in equal parts: sent straight to the bucket, resumed at any time, checked by content at the end."""

import asyncio
import time
from typing import Final

from api_shim.settings import ShimSettings
from api_shim.upload_ids import UploadIds, UploadTicket
from api_shim.uploads import check_content, check_size, new_key, public_url, safe_media_type
from api_shim.wire import (
    PartsAnswer,
    PartsRequest,
    PartUrl,
    SentPart,
    UploadAnswer,
    UploadBegin,
    UploadBegun,
    UploadComplete,
    UploadedPart,
)
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.sniffing import HEAD_BYTES
from gpu_tasks.multipart import MAX_PARTS, Part
from gpu_tasks.storage import ArtifactStore

_MEGABYTE: Final = 1024 * 1024
# Small enough to be sent again over a bad line, large enough that a gigabyte is not a thousand requests.
_PART_BYTES: Final = 8 * _MEGABYTE
# The bucket's lifecycle aborts what is left later than this.
UPLOAD_SECONDS: Final = 24 * 3600
_MIN_URL_SECONDS: Final = 3600


class LargeUploads:
    """Uploads in parts. Nothing is kept here: what is begun lies in the bucket, and the id says the rest."""

    def __init__(self, store: ArtifactStore, settings: ShimSettings) -> None:
        self._store = store
        self._parts = store.multipart
        self._settings = settings
        self._ids = UploadIds(settings.r2.secret_access_key)

    async def begin(self, asked: UploadBegin, *, owner: str | None) -> UploadBegun:
        """Begin an upload under a new key.

        Raises:
            FaultError: KEY_NOT_ALLOWED, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE.
        """
        media_type = safe_media_type(asked.content_type, asked.filename)
        key = new_key(asked.prefix, asked.filename, media_type)
        limit = self._settings.max_bytes_of(key)
        check_size("size", asked.size, limit)
        ticket = UploadTicket(
            key=key,
            bucket_id=await asyncio.to_thread(self._parts.begin, key, media_type),
            size=asked.size,
            part_bytes=_part_bytes(asked.size),
            content_type=media_type,
            sha256=asked.sha256,
            owner=owner,
            expires_at=int(time.time()) + UPLOAD_SECONDS,
        )
        return UploadBegun(
            upload_id=self._ids.id_of(ticket),
            key=key,
            part_bytes=ticket.part_bytes,
            part_count=ticket.part_count,
            expires_in=UPLOAD_SECONDS,
        )

    async def parts(self, upload_id: str, asked: PartsRequest, *, owner: str | None) -> PartsAnswer:
        """Return URLs for the parts that are asked for, and what is there already.

        Raises:
            FaultError: UPLOAD_UNKNOWN, REQUEST_INVALID for a part that the upload does not have, STORAGE_UNAVAILABLE.
        """
        ticket = self._ids.read(upload_id, owner=owner)
        if any(number > ticket.part_count for number in asked.part_numbers):
            raise FaultError(
                FaultCode.REQUEST_INVALID, f"part_numbers: there are {ticket.part_count} parts.", field="part_numbers"
            )
        there = await asyncio.to_thread(self._parts.parts, ticket.key, ticket.bucket_id)
        if there is None:
            raise FaultError(FaultCode.UPLOAD_UNKNOWN)
        return PartsAnswer(
            parts=tuple(self._url(ticket, number) for number in dict.fromkeys(asked.part_numbers)),
            uploaded=tuple(UploadedPart(part_number=p.number, etag=p.etag, size=p.size_bytes) for p in there),
        )

    async def complete(self, upload_id: str, asked: UploadComplete, *, owner: str | None) -> UploadAnswer:
        """Put the parts together and look at what came: its size, its digest, and whether it is what its key says.

        A completion whose answer was lost may be asked for again.

        Raises:
            FaultError: UPLOAD_UNKNOWN; UPLOAD_INCOMPLETE, naming a part; MEDIA_UNSUPPORTED when the content is no such
                media; STORAGE_UNAVAILABLE.
        """
        ticket = self._ids.read(upload_id, owner=owner)
        there = await asyncio.to_thread(self._parts.parts, ticket.key, ticket.bucket_id)
        if there is not None:
            chosen = _chosen(ticket, there, asked.parts)
            await asyncio.to_thread(self._parts.complete, ticket.key, ticket.bucket_id, chosen)
        return await asyncio.to_thread(self._looked_at, ticket)

    async def abort(self, upload_id: str, *, owner: str | None) -> None:
        """Forget an upload.

        Raises:
            FaultError: UPLOAD_UNKNOWN, STORAGE_UNAVAILABLE.
        """
        ticket = self._ids.read(upload_id, owner=owner)
        # Asked first: not every bucket says that it knew nothing to abort.
        there = await asyncio.to_thread(self._parts.parts, ticket.key, ticket.bucket_id)
        if there is None or not await asyncio.to_thread(self._parts.abort, ticket.key, ticket.bucket_id):
            raise FaultError(FaultCode.UPLOAD_UNKNOWN)

    def _url(self, ticket: UploadTicket, number: int) -> PartUrl:
        size = ticket.bytes_of(number)
        seconds = max(_MIN_URL_SECONDS, self._settings.r2.presign_expiry)
        url = self._parts.presign(ticket.key, ticket.bucket_id, number, size_bytes=size, expires_seconds=seconds)
        return PartUrl(part_number=number, url=url, size=size)

    def _looked_at(self, ticket: UploadTicket) -> UploadAnswer:
        try:
            head, artifact = self._store.examine(ticket.key, head_bytes=HEAD_BYTES, max_bytes=ticket.size)
        except FaultError as error:
            if error.fault.code is FaultCode.OBJECT_MISSING:
                raise FaultError(FaultCode.UPLOAD_UNKNOWN) from error
            raise
        try:
            _check_digest(ticket, artifact)
            check_content("parts", ticket.key, head)
        except FaultError:
            # Nobody can use it: whoever sends it again gets a new key.
            self._store.delete(ticket.key)
            raise
        return UploadAnswer(
            key=ticket.key,
            size=artifact.size_bytes,
            content_type=artifact.media_type,
            sha256=artifact.sha256,
            public_url=public_url(self._settings, ticket.key),
        )


def _check_digest(ticket: UploadTicket, artifact: Artifact) -> None:
    if ticket.sha256 not in {None, artifact.sha256}:
        raise FaultError(FaultCode.UPLOAD_INCOMPLETE, "sha256: what came has another digest.", field="sha256")


def _part_bytes(size: int) -> int:
    """Return the size of all parts but the last: whole megabytes, and no more parts than a bucket takes."""
    needed = -(-size // MAX_PARTS)
    return max(_PART_BYTES, -(-needed // _MEGABYTE) * _MEGABYTE)


def _chosen(ticket: UploadTicket, there: tuple[Part, ...], sent: tuple[SentPart, ...]) -> list[Part]:
    """Return the parts in order, each as the bucket has it.

    Raises:
        FaultError: UPLOAD_INCOMPLETE, naming the first part that is missing, of another size or not the one that the
            caller means.
    """
    known = {part.number: part for part in there}
    meant = {part.part_number: part.etag.strip('"') for part in sent}
    for number in range(1, ticket.part_count + 1):
        part = known.get(number)
        if part is None or part.size_bytes != ticket.bytes_of(number) or meant.get(number) != part.etag.strip('"'):
            raise FaultError(FaultCode.UPLOAD_INCOMPLETE, f"parts: part {number}.", field="parts")
    return [known[number] for number in range(1, ticket.part_count + 1)]
