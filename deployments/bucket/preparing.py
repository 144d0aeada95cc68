"""Brings a bucket to its policy, and tells what it has now.

R2 answers to these two calls as S3 does by its documentation; that it takes the checksum header which boto3 cannot be
told to leave out of them was never tried (docs/deploy.md names the dashboard's way).
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from deployments.bucket.errors import BucketError
from deployments.bucket.policy import BucketPolicy, cors_rule, lifecycle_rules
from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.s3 import make_client
from gpu_tasks.settings import R2Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS: Final = 2
_CONNECT_SECONDS: Final = 5.0
_READ_SECONDS: Final = 20.0


@unique
class Part(StrEnum):
    """What a bucket is told."""

    CORS = "cors"
    LIFECYCLE = "lifecycle"


class Bucket:
    """One bucket under one key. The key of `prepare` may change the bucket's settings; the product's own may not."""

    def __init__(self, settings: R2Settings) -> None:
        self._name = settings.bucket
        self._client: S3Client = make_client(
            settings, attempts=_ATTEMPTS, connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS
        )

    def check_objects(self) -> None:
        """Write an object, read it back, and write it again where it must be refused; nothing is left behind.

        Raises:
            BucketError: The key may not, or the store does not keep conditional puts, without which money is lost.
        """
        key, body = f"{WORK}probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
        with told("write and read objects", self._name):
            self._client.put_object(Bucket=self._name, Key=key, Body=body, IfNoneMatch="*")
            with self._client.get_object(Bucket=self._name, Key=key)["Body"] as stream:
                seen = stream.read()
            again = self._put_again(key)
            self._client.delete_object(Bucket=self._name, Key=key)
        if seen != body:
            raise BucketError(f"The bucket {self._name} returned another object than the one just written.")
        if again:
            raise BucketError(
                f"The bucket {self._name} overwrites an object that must not exist (If-None-Match is ignored); "
                "this product needs a store that keeps conditional puts, such as R2."
            )

    def outdated(self, policy: BucketPolicy) -> tuple[Part, ...]:
        """Return what is not as the policy says.

        Raises:
            BucketError: The settings may not be read.
        """
        with told("read the bucket's settings", self._name):
            cors = _or_none(lambda: self._client.get_bucket_cors(Bucket=self._name).get("CORSRules", []))
            rules = _or_none(
                lambda: self._client.get_bucket_lifecycle_configuration(Bucket=self._name).get("Rules", [])
            )
        wanted_cors = [cors_rule(policy.origins)] if policy.origins else []
        parts = []
        if _plain(cors) != _plain(wanted_cors):
            parts.append(Part.CORS)
        if _by_name(rules) != _by_name(lifecycle_rules(policy)):
            parts.append(Part.LIFECYCLE)
        return tuple(parts)

    def prepare(self, policy: BucketPolicy) -> tuple[Part, ...]:
        """Write what is outdated; return what was written.

        Raises:
            BucketError: The key may not change the bucket's settings.
        """
        parts = self.outdated(policy)
        with told("change the bucket's settings", self._name):
            if Part.CORS in parts and policy.origins:
                self._client.put_bucket_cors(
                    Bucket=self._name, CORSConfiguration={"CORSRules": [cors_rule(policy.origins)]}
                )
            elif Part.CORS in parts:
                self._client.delete_bucket_cors(Bucket=self._name)
            if Part.LIFECYCLE in parts:
                self._client.put_bucket_lifecycle_configuration(
                    Bucket=self._name, LifecycleConfiguration={"Rules": lifecycle_rules(policy)}
                )
        return parts

    def _put_again(self, key: str) -> bool:
        """Tell whether a put that must fail was carried out."""
        try:
            self._client.put_object(Bucket=self._name, Key=key, Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {409, 412}:
                raise
            return False
        return True


@contextmanager
def told(doing: str, bucket: str) -> Iterator[None]:
    """Turn what boto3 raises into a sentence that names the variable."""
    try:
        yield
    except ClientError as error:
        code, status = error.response["Error"].get("Code", ""), error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise BucketError(_sentence(doing, bucket, code, status)) from error
    except BotoCoreError as error:
        raise BucketError("The store does not answer at R2_ENDPOINT; check the address and the network.") from error


def _sentence(doing: str, bucket: str, code: str, status: int) -> str:
    match code:
        case "NoSuchBucket":
            return (
                f"There is no bucket {bucket} at R2_ENDPOINT. A bucket in a jurisdiction has an endpoint of its own, "
                "such as https://<account>.eu.r2.cloudflarestorage.com; else correct R2_BUCKET or make the bucket."
            )
        case "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "Unauthorized":
            return "The store does not know the key; check R2_ACCESS_KEY_ID and R2_SECRET_ACCESS_KEY."
        case "RequestTimeTooSkewed":
            return "The store refuses our clock; set this machine's time (ntp)."
        case "AccessDenied":
            return (
                f"The key may not {doing} of {bucket}; give R2_ACCESS_KEY_ID the permission "
                "(Object Read & Write for the product, Admin Read & Write for `lipswap bucket prepare`)."
            )
        case _:
            return (
                f"The store refuses to {doing} of {bucket} with status {status} ({code}); check R2_ENDPOINT, and "
                "R2_ACCESS_KEY_ID with R2_SECRET_ACCESS_KEY."
            )


def _or_none(ask: Any) -> list[Any]:  # noqa: ANN401  # boto3's own types differ
    """Return the answer, nothing where the bucket has no such settings."""
    try:
        return list(ask())
    except ClientError as error:
        if error.response["Error"].get("Code") in {"NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration"}:
            return []
        raise


def _plain(rules: list[Any]) -> list[dict[str, Any]]:
    """Return rules in one form: order and case of headers say nothing, and stores name rules themselves."""
    return [
        {
            name: sorted(str(one).lower() if name.endswith("Headers") else one for one in value)
            if isinstance(value, list)
            else value
            for name, value in rule.items()
            if name != "ID"
        }
        for rule in rules
    ]


def _by_name(rules: list[Any]) -> dict[str, dict[str, Any]]:
    """Return lifecycle rules by id, without what stores add; the default rule of R2 is not ours to judge."""
    return {
        rule["ID"]: {name: value for name, value in rule.items() if name != "ID"}
        for rule in rules
        if str(rule.get("ID", "")).startswith("lipswap-")
    }
