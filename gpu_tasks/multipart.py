"""Large objects in parts: begun, sent past us with presigned URLs, and put together when all parts are there."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.s3 import StorageError, answered, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# R2 takes no more, and S3 neither.
MAX_PARTS = 10_000
# R2 and S3 refuse smaller ones but for the last; R2 wants all others equal.
MIN_PART_BYTES = 5 * 1024 * 1024


class Part(NamedTuple):
    """A part that is there; `etag` is opaque, with its quotes."""

    number: int
    etag: str
    size_bytes: int


class Multipart:
    """Uploads in parts to one bucket; any method may raise StorageError STORAGE_UNAVAILABLE."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str, media_type: str) -> str:
        """Begin an upload and return the bucket's id of it; an unfinished one is aborted by lifecycle."""
        with answered(key):
            return self._client.create_multipart_upload(Bucket=self._bucket, Key=key, ContentType=media_type)[
                "UploadId"
            ]

    def presign(self, key: str, upload_id: str, number: int, *, size_bytes: int, expires_seconds: int) -> str:
        """Return a URL to PUT one part of exactly this size."""
        return self._client.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "UploadId": upload_id,
                "PartNumber": number,
                "ContentLength": size_bytes,
            },
            ExpiresIn=expires_seconds,
        )

    def parts(self, key: str, upload_id: str) -> tuple[Part, ...] | None:
        """Return the parts that are there, in order; None when there is no such upload (any more)."""
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
        found = []
        try:
            with answered(key):
                for page in pages:
                    found += [Part(part["PartNumber"], part["ETag"], part["Size"]) for part in page.get("Parts", ())]
        except StorageError as error:
            if _is_unknown(error):
                return None
            raise
        return tuple(found)

    def complete(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Put the parts together under the key; False when there is no such upload.

        Raises:
            StorageError: UPLOAD_INCOMPLETE when the bucket has other parts than these.
        """
        chosen = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            with answered(key):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": chosen},  # type: ignore[typeddict-item]  # the same two names
                )
        except StorageError as error:
            if _is_unknown(error):
                return False
            if status_of(error.__cause__) == HTTPStatus.BAD_REQUEST:
                raise StorageError(FaultCode.UPLOAD_INCOMPLETE) from error
            raise
        return True

    def abort(self, key: str, upload_id: str) -> bool:
        """Forget an upload and free its parts; False when there is no such upload."""
        try:
            with answered(key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except StorageError as error:
            if _is_unknown(error):
                return False
            raise
        return True


def _is_unknown(error: StorageError) -> bool:
    cause = error.__cause__
    if error.fault.code is FaultCode.OBJECT_MISSING:
        return True
    return isinstance(cause, ClientError) and cause.response.get("Error", {}).get("Code") == "NoSuchUpload"
