"""Artifacts in and out of the bucket: streamed, verified by digest, first writer wins.

One synchronous class for workers, blocks, flows and shim; async callers wrap its methods in `asyncio.to_thread`
(a botocore client may be shared by threads).
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from pydantic import BaseModel, ConfigDict, ValidationError

from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.multipart import Multipart
from gpu_tasks.presigning import DIGEST_NAME, Presigner
from gpu_tasks.replacing import appearing_whole
from gpu_tasks.s3 import BODY_BROKE_OFF, StorageError, answered, make_client, status_of
from gpu_tasks.settings import R2Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

__all__ = ["ArtifactStore", "ObjectHead", "StorageError", "connect"]

Model = TypeVar("Model", bound=BaseModel)

_CHUNK_BYTES = 1024 * 1024
_MAX_JSON_BYTES = 4 * 1024 * 1024
_STREAM_ATTEMPTS = 3
_CONFLICT_ATTEMPTS = 4
# The precondition does not hold, or another conditional write to this key is under way.
_PRECONDITION_FAILED = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT)


class ObjectHead(BaseModel):
    """What the bucket knows of an object. `etag` is opaque, with its quotes: hand it back to `replace_json`."""

    model_config = ConfigDict(frozen=True)

    key: str
    size_bytes: int
    etag: str
    media_type: str
    metadata: dict[str, str]


def connect(
    settings: R2Settings, *, attempts: int = 4, connect_seconds: float = 5.0, read_seconds: float = 30.0
) -> "ArtifactStore":
    """Return the store that the settings name; nothing is sent yet.

    A dead store is given up after `attempts` tries of at most `connect_seconds` (or `read_seconds` of silence) each,
    plus at most 1, 2, 4... seconds of back-off between them.
    """
    client = make_client(settings, attempts=attempts, connect_seconds=connect_seconds, read_seconds=read_seconds)
    return ArtifactStore(client, settings.bucket)


class ArtifactStore(Presigner):
    """One bucket. Any method may raise StorageError STORAGE_UNAVAILABLE: no answer, or our credentials are refused."""

    @property
    def multipart(self) -> Multipart:
        """Uploads in parts to the same bucket."""
        return Multipart(self._client, self._bucket)

    def head(self, key: str) -> ObjectHead | None:
        """Return what the bucket knows of `key`, None when there is no such object."""
        try:
            with answered(key):
                found = self._client.head_object(Bucket=self._bucket, Key=key)
        except StorageError as error:
            if error.fault.code is FaultCode.OBJECT_MISSING:
                return None
            raise
        return ObjectHead(
            key=key,
            size_bytes=found["ContentLength"],
            etag=found["ETag"],
            media_type=found.get("ContentType", "application/octet-stream"),
            metadata=found.get("Metadata", {}),
        )

    def fetch(self, artifact: Artifact, destination: Path) -> None:
        """Stream an artifact into the file `destination`, which appears only when size and digest are right.

        Raises:
            StorageError: OBJECT_MISSING, OBJECT_CORRUPT or STORAGE_UNAVAILABLE.
            OSError: The local disk is full or broken.
        """
        with appearing_whole(destination) as partial:
            fetched = self._download(artifact.key, partial, max_bytes=None)
            if (fetched.sha256, fetched.size_bytes) != (artifact.sha256, artifact.size_bytes):
                raise StorageError(FaultCode.OBJECT_CORRUPT, f"Key: {artifact.key}.")

    def fetch_key(self, key: str, destination: Path, *, max_bytes: int, etag: str | None = None) -> Artifact:
        """Stream an object whose digest is not known yet into the file `destination` and return what it is.

        With `etag` the version that it names is meant, else whatever lies there.

        Raises:
            StorageError: OBJECT_MISSING, OBJECT_EMPTY, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE; OBJECT_CHANGED when
                there is another version now.
            OSError: The local disk is full or broken.
        """
        with appearing_whole(destination) as partial:
            return self._download(key, partial, max_bytes=max_bytes, etag=etag)

    def put_file(self, path: Path, key: str, media_type: str, *, if_absent: bool = False) -> Artifact:
        """Store a file; see `put_stream`."""
        with path.open("rb") as stream:
            return self.put_stream(stream, key, media_type, if_absent=if_absent)

    def put_stream(
        self, stream: IO[bytes], key: str, media_type: str, *, max_bytes: int | None = None, if_absent: bool = False
    ) -> Artifact:
        """Store what a seekable binary stream holds, in one PUT, its SHA-256 in the metadata.

        The stream is read twice: the digest must be known before the first byte is sent. It stays open.

        Args:
            stream: At any position; it is stored from its beginning.
            key: Where to store it.
            media_type: Its Content-Type.
            max_bytes: Refuse longer streams without sending anything.
            if_absent: Never overwrite. An object with the same digest that is already there counts as stored.

        Raises:
            StorageError: OBJECT_EMPTY, OBJECT_TOO_LARGE, OUTPUT_EXISTS (only with `if_absent`: another object is
                there) or STORAGE_UNAVAILABLE.
        """
        stream.seek(0)
        sha256, size_bytes = _digest(stream, key=key, max_bytes=max_bytes)
        artifact = Artifact(key=key, sha256=sha256, size_bytes=size_bytes, media_type=media_type)
        stream.seek(0)
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        for _ in range(_CONFLICT_ATTEMPTS):
            if self._put(key, stream, media_type, Metadata={DIGEST_NAME: sha256}, **condition):
                return artifact
            # A PUT whose answer was lost is sent again by botocore and then meets itself.
            if (head := self.head(key)) is not None:
                if head.metadata.get(DIGEST_NAME) == sha256:
                    return artifact
                raise StorageError(FaultCode.OUTPUT_EXISTS, f"Key: {key}.")
            stream.seek(0)
        raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"Writes to {key} are in conflict.")

    def put_json(self, key: str, model: BaseModel, *, if_absent: bool) -> bool:
        """Store a model as JSON; False when `if_absent` and somebody was first.

        An equal object counts as ours, because botocore sends a PUT again when its answer was lost: what races for a
        key must say in its body who it is.
        """
        return self._put_json(key, model, {"IfNoneMatch": "*"} if if_absent else {})

    def replace_json(self, key: str, model: BaseModel, *, etag: str) -> bool:
        """Store a model over the version that `etag` names; False when the object has changed or gone since."""
        return self._put_json(key, model, {"IfMatch": etag})

    def read_json(self, key: str, kind: type[Model]) -> Model | None:
        """Return the model under `key`, None when there is none.

        Raises:
            StorageError: OBJECT_CORRUPT when it is not a `kind`, or STORAGE_UNAVAILABLE.
        """
        tagged = self.read_tagged(key, kind)
        return tagged[0] if tagged else None

    def read_tagged(self, key: str, kind: type[Model]) -> tuple[Model, str] | None:
        """Return the model under `key` and its etag for `replace_json`; see `read_json`."""
        found = self._read(key)
        if found is None:
            return None
        body, etag = found
        try:
            return kind.model_validate_json(body), etag
        except ValidationError as error:
            raise StorageError(FaultCode.OBJECT_CORRUPT, f"{key} holds no {kind.__name__}.") from error

    def put_bytes(self, key: str, body: bytes, media_type: str) -> None:
        """Store a few bytes, overwriting what is there."""
        if not self._put(key, body, media_type):
            raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"Writes to {key} are in conflict.")

    def read_bytes(self, key: str) -> bytes:
        """Return the whole object.

        Raises:
            StorageError: OBJECT_MISSING or STORAGE_UNAVAILABLE.
        """
        with answered(key), closing(self._client.get_object(Bucket=self._bucket, Key=key)["Body"]) as body:
            return body.read()

    def copy(self, source_key: str, key: str) -> None:
        """Copy inside the bucket, media type and metadata included, overwriting `key`.

        Raises:
            StorageError: OBJECT_MISSING or STORAGE_UNAVAILABLE.
        """
        with answered(source_key):
            self._client.copy_object(
                Bucket=self._bucket, Key=key, CopySource={"Bucket": self._bucket, "Key": source_key}
            )

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with answered(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def keys(self, prefix: str, *, since: datetime | None = None) -> Iterator[str]:
        """Yield the keys under a prefix in the order of their UTF-8 bytes, only those written `since` then."""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix))
        while True:
            with answered(prefix):
                page = next(pages, None)
            if page is None:
                return
            entries = page.get("Contents", ())
            yield from (entry["Key"] for entry in entries if since is None or entry["LastModified"] >= since)

    def examine(self, key: str, *, head_bytes: int, max_bytes: int) -> tuple[bytes, Artifact]:
        """Read an object once, without keeping it: its first bytes, and what it is.

        Raises:
            StorageError: OBJECT_MISSING, OBJECT_EMPTY, OBJECT_TOO_LARGE or STORAGE_UNAVAILABLE.
        """
        with answered(key):
            answer = self._get(key, None)
            with closing(answer["Body"]) as body:
                _check_size(answer["ContentLength"], key=key, max_bytes=max_bytes)
                first = _First(head_bytes)
                sha256, size_bytes = _digest(body, key=key, max_bytes=max_bytes, copy_to=first)
        media_type = answer.get("ContentType", "application/octet-stream")
        return bytes(first.kept), Artifact(key=key, sha256=sha256, size_bytes=size_bytes, media_type=media_type)

    def _download(self, key: str, destination: Path, *, max_bytes: int | None, etag: str | None = None) -> Artifact:
        for attempt in range(1, _STREAM_ATTEMPTS + 1):
            with answered(key):
                answer = self._get(key, etag)
            try:
                with answered(key), closing(answer["Body"]) as body, destination.open("wb") as file:
                    # Known before the first byte, so a huge object costs nothing.
                    _check_size(answer["ContentLength"], key=key, max_bytes=max_bytes)
                    sha256, size_bytes = _digest(body, key=key, max_bytes=max_bytes, copy_to=file)
            except StorageError as error:
                # botocore repeats a request that got no answer, but not a body that broke off half-way.
                if attempt == _STREAM_ATTEMPTS or not isinstance(error.__cause__, BODY_BROKE_OFF):
                    raise
                continue
            return Artifact(
                key=key,
                sha256=sha256,
                size_bytes=size_bytes,
                media_type=answer.get("ContentType", "application/octet-stream"),
            )
        raise AssertionError("the last attempt returns or raises")

    def _get(self, key: str, etag: str | None) -> "GetObjectOutputTypeDef":
        try:
            if etag is None:
                return self._client.get_object(Bucket=self._bucket, Key=key)
            return self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=etag)
        except ClientError as error:
            if status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                raise StorageError(FaultCode.OBJECT_CHANGED, f"Key: {key}.") from error
            raise

    def _put_json(self, key: str, model: BaseModel, condition: dict[str, str]) -> bool:
        body = model.model_dump_json().encode()
        for _ in range(_CONFLICT_ATTEMPTS):
            if self._put(key, body, "application/json", **condition):
                return True
            found = self._read(key)
            if found is not None:
                return found[0] == body
            if "IfMatch" in condition:
                return False
        raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"Writes to {key} are in conflict.")

    def _put(self, key: str, body: bytes | IO[bytes], media_type: str, **extra: Any) -> bool:  # noqa: ANN401  # botocore names
        """Put; False when the condition in `extra` does not hold."""
        try:
            with answered(key):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=body, ContentType=media_type, **extra)
        except StorageError as error:
            if status_of(error.__cause__) in _PRECONDITION_FAILED:
                return False
            if "IfMatch" in extra and error.fault.code is FaultCode.OBJECT_MISSING:
                return False
            raise
        return True

    def _read(self, key: str) -> tuple[bytes, str] | None:
        try:
            with answered(key):
                answer = self._client.get_object(Bucket=self._bucket, Key=key)
                with closing(answer["Body"]) as body:
                    # A longer object is cut short here and so refused as JSON.
                    return body.read(_MAX_JSON_BYTES), answer["ETag"]
        except StorageError as error:
            if error.fault.code is FaultCode.OBJECT_MISSING:
                return None
            raise


class _First:
    """Keeps the first bytes of what is written to it."""

    def __init__(self, size_bytes: int) -> None:
        self._wanted = size_bytes
        self.kept = bytearray()

    def write(self, chunk: bytes) -> None:
        self.kept += chunk[: self._wanted - len(self.kept)]


def _digest(
    stream: "IO[bytes] | StreamingBody", *, key: str, max_bytes: int | None, copy_to: "IO[bytes] | _First | None" = None
) -> tuple[str, int]:
    """Return SHA-256 (hex) and size of what is left in a stream, writing it to `copy_to` on the way."""
    digest = hashlib.sha256()
    size_bytes = 0
    while chunk := stream.read(_CHUNK_BYTES):
        size_bytes += len(chunk)
        _check_size(size_bytes, key=key, max_bytes=max_bytes)
        digest.update(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    if size_bytes == 0:
        raise StorageError(FaultCode.OBJECT_EMPTY, f"Key: {key}.")
    return digest.hexdigest(), size_bytes


def _check_size(size_bytes: int, *, key: str, max_bytes: int | None) -> None:
    if max_bytes is not None and size_bytes > max_bytes:
        raise StorageError(FaultCode.OBJECT_TOO_LARGE, f"{key} has more than {max_bytes} bytes.")
