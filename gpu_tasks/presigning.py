"""URLs with which others fetch or send one object, for a while and without our credentials."""

import base64
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Name of the digest among an object's metadata (header x-amz-meta-sha256).
DIGEST_NAME: Final = "sha256"


class Presigner:
    """Signs URLs for one bucket; nothing is sent."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def presign_get(self, key: str, *, expires_seconds: int, filename: str | None = None) -> str:
        """Return a URL to download `key`; with `filename` a browser saves it under that name."""
        disposition = {}
        if filename is not None:
            disposition["ResponseContentDisposition"] = f"attachment; filename*=UTF-8''{quote(filename, safe='')}"
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": self._bucket, "Key": key, **disposition}, ExpiresIn=expires_seconds
        )

    def presign_put(  # noqa: PLR0913  # all that a signature binds
        self,
        key: str,
        *,
        expires_seconds: int,
        media_type: str,
        size_bytes: int | None = None,
        sha256_hex: str | None = None,
        if_absent: bool = False,
    ) -> tuple[str, dict[str, str]]:
        """Return a URL to upload `key` with one PUT and the headers the client must send.

        With `size_bytes` the signature holds the Content-Length, which every HTTP client sends by itself: a body of
        another size is refused. `sha256_hex` is told to the bucket, which refuses other bytes where it knows that
        checksum, and kept in the metadata; whoever reads verifies. With `if_absent` nothing is ever overwritten.
        """
        bound: dict[str, Any] = {"ContentType": media_type}
        headers = {"Content-Type": media_type}
        if size_bytes is not None:
            bound["ContentLength"] = size_bytes
        if sha256_hex is not None:
            checksum = base64.b64encode(bytes.fromhex(sha256_hex)).decode()
            bound |= {"Metadata": {DIGEST_NAME: sha256_hex}, "ChecksumSHA256": checksum}
            headers |= {f"x-amz-meta-{DIGEST_NAME}": sha256_hex, "x-amz-checksum-sha256": checksum}
        if if_absent:
            bound["IfNoneMatch"] = headers["If-None-Match"] = "*"
        url = self._client.generate_presigned_url(
            "put_object", Params={"Bucket": self._bucket, "Key": key, **bound}, ExpiresIn=expires_seconds
        )
        return url, headers
