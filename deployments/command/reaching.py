"""Where a command finds the bucket: the running local stack's, else the one that the environment names."""

from pathlib import Path

from deployments.command.exits import settings_of
from deployments.local.addresses import running_addresses
from gpu_tasks.settings import R2Settings


def bucket_of(data: Path) -> R2Settings:
    """Return the bucket of the local stack that runs in `data`, else the one of the environment.

    Raises:
        SettingsUnusableError: A value of the environment is missing or does not fit.
    """
    if (local := running_addresses(data)) is None:
        return settings_of(R2Settings)
    return R2Settings(
        endpoint=local.s3_endpoint,
        bucket=local.s3_bucket,
        region=local.s3_region,
        access_key_id=local.s3_access_key_id,
        secret_access_key=local.s3_secret_access_key,
    )
