"""Where a command finds the bucket: the running local stack's, else the one that the environment names."""

from pathlib import Path

from deployments.command.exits import SettingsUnusableError, settings_of
from deployments.local.addresses import running_addresses
from gpu_tasks.settings import R2Settings


def bucket_of(data: Path) -> R2Settings:
    """Return the bucket of the local stack that runs in `data`, else the one of the environment.

    Raises:
        SettingsUnusableError: A value of the environment is missing or does not fit.
    """
    local = running_addresses(data)
    if local is not None:
        return local.r2
    try:
        return settings_of(R2Settings)
    except SettingsUnusableError as error:
        raise SettingsUnusableError(
            f"{error}. No local stack runs in {data} either; start one with `lipswap up`, or set R2_* (docs/deploy.md)."
        ) from error
