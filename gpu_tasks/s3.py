"""The S3 client as every S3 store accepts it, and what its errors mean."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.loaders import JSONFileLoader, Loader

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.settings import R2Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# botocore repeats a request that got no answer, but not a body that broke off half-way with one of these.
BODY_BROKE_OFF = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)

_POOL_CONNECTIONS = 32
_ADDRESSES = "endpoints"
_MANUAL = "documentation"
# What is left of the table: every name of a region is one, and us-east-1 is nowhere in particular to S3.
_ANYWHERE = {
    "partition": "aws",
    "dnsSuffix": "amazonaws.com",
    "regionRegex": ".*",
    "regions": {},
    "services": {
        "s3": {
            "partitionEndpoint": "aws-global",
            "endpoints": {"aws-global": {"credentialScope": {"region": "us-east-1"}, "hostname": "s3.amazonaws.com"}},
        }
    },
    "defaults": {"hostname": "{service}.{region}.{dnsSuffix}", "protocols": ["https"], "signatureVersions": ["v4"]},
}


class StorageError(FaultError):
    """The bucket does not have the object, has another one, or does not answer."""


class _FilesWithoutManual(JSONFileLoader):
    """Leaves out the manual of S3 that stands between the lines: 2 MB in memory that nobody reads."""

    def load_file(self, file_path: str) -> dict[str, Any] | None:
        for path, opened in ((Path(f"{file_path}.json"), Path.open), (Path(f"{file_path}.json.gz"), gzip.open)):
            if path.is_file():
                with opened(path, "rb") as file:
                    told: dict[str, Any] = json.loads(file.read(), object_pairs_hook=_without_manual)
                return told
        return None


class _LoaderWithoutAddresses(Loader):
    """Leaves out the table of all of Amazon's addresses, 7 MB in memory: where the bucket is, the settings say."""

    FILE_LOADER_CLASS = _FilesWithoutManual

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        if name == _ADDRESSES:
            return {"partitions": [_ANYWHERE]}, f"{self.BUILTIN_DATA_PATH}/{name}"
        found: tuple[Any, str] = super().load_data_with_path(name)
        return found


def _without_manual(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Botocore looks for the word, not at the text.
    return {name: "" if name == _MANUAL and isinstance(told, str) else told for name, told in pairs}


def make_client(settings: R2Settings, *, attempts: int, connect_seconds: float, read_seconds: float) -> "S3Client":
    """Return a client with our limits; nothing is sent yet. Threads may share it."""
    config = Config(
        # R2 refuses the checksum trailers that botocore sends by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        max_pool_connections=_POOL_CONNECTIONS,
    )
    session = botocore.session.get_session()
    session.register_component("data_loader", _LoaderWithoutAddresses())
    # Botocore's own: boto3 around it would be another 2 MB, for uploads that it cuts in pieces itself.
    client = session.create_client(
        "s3",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=settings.secret_access_key.get_secret_value(),
        config=config,
    )
    return cast("S3Client", client)


@contextmanager
def answered(key: str) -> Iterator[None]:
    """Turn what botocore raises into a StorageError about `key`; its cause stays attached."""
    try:
        yield
    except ClientError as error:
        status = status_of(error)
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            raise StorageError(FaultCode.STORAGE_REFUSED, "The bucket does not exist.") from error
        if status == HTTPStatus.NOT_FOUND:
            raise StorageError(FaultCode.OBJECT_MISSING, f"Key: {key}.") from error
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise StorageError(FaultCode.STORAGE_REFUSED, f"Key: {key}.") from error
        raise StorageError(FaultCode.STORAGE_UNAVAILABLE, f"It answers with status {status}.") from error
    except BotoCoreError as error:
        raise StorageError(FaultCode.STORAGE_UNAVAILABLE) from error


def status_of(error: BaseException | None) -> int | None:
    """Return the HTTP status with which the store refused, None when it did not answer."""
    if not isinstance(error, ClientError):
        return None
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
