"""Uploads: keys made by the server, media types that are safe to serve, URLs for direct transfer."""

import asyncio
import re
from mimetypes import guess_type
from os import SEEK_END
from typing import IO
from uuid import uuid4

from api_shim.settings import ShimSettings
from api_shim.wire import Intent, PresignAnswer, PresignRequest, UploadAnswer
from gpu_tasks.contract.artifacts import UPLOADS, check_key
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.contract.sniffing import Content, may_be, media_type_of
from gpu_tasks.storage import ArtifactStore

KINDS = ("audio", "video", "source")
_CONTENT_OF_KIND = {"audio": Content.AUDIO, "video": Content.VIDEO, "source": Content.PICTURE}
_KIND_OF_TYPE = {"audio": "audio", "video": "video", "image": "source"}
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}$")
# Only these are served back under their own type: a page or a drawing with scripts never is.
_SAFE_TYPE = re.compile(r"^(audio|video|image)/(?!svg)[a-z0-9.+\-]{1,80}$")
_UNBOUND_SECONDS = 900
_ANY_BYTES = "application/octet-stream"


class Uploads:
    """Takes files in, by the server's hand or by a presigned URL."""

    def __init__(self, store: ArtifactStore, settings: ShimSettings) -> None:
        self._store = store
        self._settings = settings

    async def store(
        self, stream: IO[bytes], *, field: str, prefix: str | None, filename: str | None, content_type: str | None
    ) -> UploadAnswer:
        """Store a file under a new key.

        Args:
            stream: The file, from its beginning; one that can be looked at before it is read.
            field: The field of the request that brought it.
            prefix: See `new_key`.
            filename: See `new_key`.
            content_type: As the caller declares it.

        Raises:
            FaultError: KEY_NOT_ALLOWED, OBJECT_EMPTY, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE.
        """
        media_type = safe_media_type(content_type, filename)
        key = new_key(prefix, filename, media_type)
        limit = self._settings.max_bytes_of(key)
        check_size(field, stream.seek(0, SEEK_END), limit)
        stream.seek(0)
        stored = await asyncio.to_thread(
            self._store.put_stream, stream, key, media_type, max_bytes=limit, if_absent=True
        )
        return UploadAnswer(
            key=key,
            size=stored.size_bytes,
            content_type=media_type,
            sha256=stored.sha256,
            public_url=public_url(self._settings, key),
        )

    async def presign(self, asked: PresignRequest) -> PresignAnswer:
        """Return a URL to send or fetch an object directly.

        Raises:
            FaultError: KEY_NOT_ALLOWED, OBJECT_MISSING, OBJECT_TOO_LARGE, REQUEST_INVALID or STORAGE_UNAVAILABLE.
        """
        expires_in = asked.expires_in or self._settings.r2.presign_expiry
        if asked.intent is Intent.DOWNLOAD:
            return await self._presign_download(asked.key, asked.filename, expires_in)
        return await self._presign_upload(asked, expires_in)

    async def _presign_download(self, key: str | None, filename: str | None, expires_in: int) -> PresignAnswer:
        if key is None:
            raise FaultError(FaultCode.REQUEST_INVALID, "key: a download needs one.", field="key")
        if await asyncio.to_thread(self._store.head, key) is None:
            raise FaultError(FaultCode.OBJECT_MISSING, f"key: {key}.", field="key")
        return PresignAnswer(
            key=key,
            url=self._store.presign_get(key, expires_seconds=expires_in, filename=filename),
            method="GET",
            headers={},
            intent=Intent.DOWNLOAD,
            expires_in=expires_in,
            public_url=public_url(self._settings, key),
        )

    async def _presign_upload(self, asked: PresignRequest, expires_in: int) -> PresignAnswer:
        media_type = safe_media_type(asked.content_type, asked.key)
        key = asked.key or new_key(None, None, media_type)
        if not key.startswith(UPLOADS):
            raise FaultError(FaultCode.KEY_NOT_ALLOWED, f"key: an upload starts with {UPLOADS}.", field="key")
        limit = self._settings.max_bytes_of(key)
        if asked.size is not None:
            check_size("size", asked.size, limit)
        if asked.key is not None and await asyncio.to_thread(self._store.head, key) is not None:
            raise FaultError(FaultCode.KEY_NOT_ALLOWED, "key: there is an object already; leave key out.", field="key")
        if asked.size is None:
            # Nothing in a signature bounds a body of unknown size, so it does not live long; `/run` looks at the size.
            expires_in = min(expires_in, _UNBOUND_SECONDS)
        url, headers = self._store.presign_put(
            key,
            expires_seconds=expires_in,
            media_type=media_type,
            size_bytes=asked.size,
            sha256_hex=asked.sha256,
            if_absent=True,
        )
        return PresignAnswer(
            key=key,
            url=url,
            method="PUT",
            headers=headers,
            intent=Intent.UPLOAD,
            expires_in=expires_in,
            public_url=public_url(self._settings, key),
        )


def new_key(prefix: str | None, filename: str | None, media_type: str) -> str:
    """Make a key that nobody has: `uploads/{audio,video,source}/[folders/]{id}{suffix}`.

    Args:
        prefix: `uploads/audio`, `audio`, or folders below one of them; None: the kind that fits the media type.
        filename: The caller's name of the file; only its suffix is kept.
        media_type: Of the file.

    Raises:
        FaultError: KEY_NOT_ALLOWED, with the rule.
    """
    suggested = _KIND_OF_TYPE.get(media_type.partition("/")[0], "video")
    folder = (prefix or "").strip("/").removeprefix(UPLOADS) or suggested
    if folder.partition("/")[0] not in KINDS:
        allowed = ", ".join(UPLOADS + kind for kind in KINDS)
        raise FaultError(FaultCode.KEY_NOT_ALLOWED, f"prefix: one of {allowed}.", field="prefix")
    suffix = _SUFFIX.search((filename or "").lower())
    try:
        return check_key(f"{UPLOADS}{folder}/{uuid4().hex}{suffix.group() if suffix else ''}")
    except ValueError as error:
        raise FaultError(FaultCode.KEY_NOT_ALLOWED, f"prefix: {error}.", field="prefix") from error


def check_size(field: str, size: int, max_bytes: int, *, key: str | None = None) -> None:
    """Refuse what is empty or too large.

    Args:
        field: The one of the request that is wrong then.
        size: Of the file, in bytes.
        max_bytes: What it may have.
        key: Of the object, where there is one already.

    Raises:
        FaultError: OBJECT_EMPTY or OBJECT_TOO_LARGE.
    """
    if size == 0:
        raise FaultError(FaultCode.OBJECT_EMPTY, f"{field}: {key}." if key else f"Field: {field}.", field=field)
    if size > max_bytes:
        named = f"{field}: {key}" if key else field
        raise FaultError(FaultCode.OBJECT_TOO_LARGE, f"{named}: the limit is {max_bytes} bytes.", field=field)


def check_content(field: str, key: str, head: bytes) -> None:
    """Look whether a file can be what the folder of its key says; its name and declared type count for nothing.

    Args:
        field: The one of the request that brought it.
        key: `uploads/{audio,video,source}/...`.
        head: The first bytes of the file.

    Raises:
        FaultError: MEDIA_UNSUPPORTED.
    """
    wanted = _CONTENT_OF_KIND[key.removeprefix(UPLOADS).partition("/")[0]]
    found = media_type_of(head)
    if not may_be(found, wanted):
        seen = f"Its content is {found}." if found else "Its content is neither sound, video nor picture."
        raise FaultError(FaultCode.MEDIA_UNSUPPORTED, f"{seen} Asked: {wanted}.", field=field)


def safe_media_type(content_type: str | None, filename: str | None) -> str:
    """Return the declared type, or the one the name suggests, when it is sound, picture or video; else plain bytes."""
    for told in (content_type, guess_type(filename or "")[0]):
        bare = (told or "").split(";")[0].strip().lower()
        if _SAFE_TYPE.match(bare):
            return bare
    return _ANY_BYTES


def public_url(settings: ShimSettings, key: str) -> str | None:
    """Return the address of `key` under R2_PUBLIC_BASE_URL, None where there is none."""
    return settings.r2.public_url(key)
