"""The bucket as Prefect blocks: prefect-aws' own credentials and bucket, set up for Cloudflare R2 and its like."""

import asyncio
from functools import lru_cache
from typing import Any, ClassVar
from urllib.parse import quote

from prefect_aws import AwsClientParameters, AwsCredentials, S3Bucket
from pydantic import Field, SecretStr

from blocks.patience import patiently
from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect

# The same as in gpu_tasks.storage, for whoever uses the block as prefect-aws' own.
_CLIENT_CONFIG: dict[str, Any] = {
    "signature_version": "s3v4",
    "s3": {"addressing_style": "path"},
    "retries": {"mode": "standard", "total_max_attempts": 4},
    "max_pool_connections": 32,
    # R2 refuses the checksum trailers that botocore sends by default.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


def r2_credentials(settings: R2Settings) -> AwsCredentials:
    """Return prefect-aws credentials with R2's endpoint and region."""
    return AwsCredentials(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key,
        region_name=settings.region,
        aws_client_parameters=AwsClientParameters(endpoint_url=settings.endpoint, config=_CLIENT_CONFIG),
    )


class R2Bucket(S3Bucket):
    """Keeps media and task results in an S3 bucket such as Cloudflare R2.

    Adds to prefect-aws' bucket what it lacks through `store()`: presigned URLs, existence, conditional and streamed
    puts, digests.

    Example:
        Sign a download:
        ```python
        from blocks.r2 import R2Bucket

        bucket = R2Bucket.load("BLOCK_NAME")
        url = bucket.store().presign_get("outputs/x/result.mp4", expires_seconds=900)
        ```
    """

    _block_type_name: ClassVar[str] = "Lipswap R2 bucket"
    _block_type_slug: ClassVar[str] = "lipswap-r2-bucket"
    _logo_url = "https://avatars.githubusercontent.com/u/314135?s=200"
    _documentation_url = "https://developers.cloudflare.com/r2/"

    public_base_url: str | None = Field(
        default=None, description="Address under which the bucket is public, when it is."
    )
    presign_expiry_seconds: int = Field(
        default=900, ge=1, le=604800, description="How long a signed URL is valid, in seconds."
    )

    # Prefect-aws would read and write a task's result by S3 transfers: two requests and ten threads for a few hundred
    # bytes, and threads beyond those of the worker.

    async def aread_path(self, path: str) -> bytes:
        """Read a task's result; a bucket that is away is waited for, or the task would be done again."""
        key, store = self._resolve_path(path), self.store()
        return await patiently(lambda: asyncio.to_thread(store.read_bytes, key))

    async def awrite_path(self, path: str, content: bytes) -> str:
        """Keep a task's result; a bucket that is away is waited for, or a finished task would fail."""
        key, store = self._resolve_path(path), self.store()
        await patiently(lambda: asyncio.to_thread(store.put_bytes, key, content, "application/json"))
        return key

    def settings(self) -> R2Settings:
        """Return where the bucket is and how to reach it, as the workers know it.

        Raises:
            FaultError: STORAGE_UNAVAILABLE when the credentials lack something.
        """
        credentials = self.credentials
        if not isinstance(credentials, AwsCredentials) or credentials.aws_client_parameters.endpoint_url is None:
            raise FaultError(FaultCode.STORAGE_UNAVAILABLE, "The bucket block needs AWS credentials with an endpoint.")
        return R2Settings(
            endpoint=credentials.aws_client_parameters.endpoint_url,
            bucket=self.bucket_name,
            access_key_id=credentials.aws_access_key_id or "",
            secret_access_key=credentials.aws_secret_access_key or SecretStr(""),
            region=credentials.region_name or "auto",
            public_base_url=self.public_base_url,
            presign_expiry=self.presign_expiry_seconds,
        )

    def public_url(self, key: str) -> str | None:
        """Return the lasting address of an object, None where the bucket is not public."""
        return f"{self.public_base_url.rstrip('/')}/{quote(key)}" if self.public_base_url else None

    def store(self) -> ArtifactStore:
        """Return the bucket as workers see it; keys are whole keys, `bucket_folder` does not apply."""
        return _connected(self.settings())


@lru_cache(maxsize=8)
def _connected(settings: R2Settings) -> ArtifactStore:
    # Blocks are loaded anew for every run; making a client reads megabytes of service descriptions.
    return connect(settings)
