"""`python -m deployments.retention`: how long the bucket keeps what, as lifecycle rules of the bucket itself.

Results stay until their task is deleted. What lies under `work/` can be computed again; what somebody uploaded and
never used, or began to upload and never finished, is nobody's.
"""

import sys
from typing import TYPE_CHECKING, Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gpu_tasks.contract.artifacts import RESULTS, UPLOADS, WORK
from gpu_tasks.contract.sentences import SENTENCES, Language
from gpu_tasks.s3 import StorageError, answered, make_client
from gpu_tasks.settings import R2Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import LifecycleRuleUnionTypeDef

# A task's result that Prefect uses again for three days (flows/caching.py) must name objects that are still there.
_LEAST_WORK_DAYS: Final = 4
# Longer than an upload's id is good for (api_shim/large_uploads.py: one day).
_UNFINISHED_DAYS: Final = 2


class RetentionSettings(BaseSettings):
    """In days; in the environment LIPSWAP_RETENTION_ and a field's name."""

    model_config = SettingsConfigDict(
        env_prefix="LIPSWAP_RETENTION_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    uploads_days: int = Field(default=30, ge=1)
    work_days: int = Field(default=14, ge=_LEAST_WORK_DAYS)


def rules_of(settings: RetentionSettings) -> "list[LifecycleRuleUnionTypeDef]":
    """Return the bucket's rules."""
    expired = {UPLOADS: settings.uploads_days, WORK: settings.work_days, RESULTS: settings.work_days}
    rules: list[LifecycleRuleUnionTypeDef] = [
        {
            "ID": f"lipswap-{prefix.rstrip('/')}",
            "Status": "Enabled",
            "Filter": {"Prefix": prefix},
            "Expiration": {"Days": days},
        }
        for prefix, days in expired.items()
    ]
    unfinished: LifecycleRuleUnionTypeDef = {
        "ID": "lipswap-unfinished-uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS},
    }
    return [*rules, unfinished]


def apply(client: "S3Client", bucket: str, settings: RetentionSettings) -> None:
    """Put the rules in place of all that the bucket has.

    Raises:
        StorageError: STORAGE_UNAVAILABLE, also when the credentials may not.
    """
    with answered(bucket):
        client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules_of(settings)})


def main() -> None:
    """Apply what the environment says to the bucket that it names."""
    r2 = R2Settings()
    client = make_client(r2, attempts=3, connect_seconds=5.0, read_seconds=30.0)
    try:
        apply(client, r2.bucket, RetentionSettings())
    except StorageError as error:
        sys.exit(f"{SENTENCES[Language.ENGLISH][error.fault.code]} {error.fault.detail}")


if __name__ == "__main__":
    main()
