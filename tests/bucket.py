"""A real bucket as fixtures; import all three in a conftest.py."""

import pytest

from deployments.local.addresses import StackAddresses
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests import servers

__all__ = ["bucket", "object_store", "store"]

object_store = servers.object_store


@pytest.fixture(scope="session")
def bucket(object_store: StackAddresses) -> R2Settings:
    return R2Settings(
        endpoint=object_store.s3_endpoint,
        bucket=object_store.s3_bucket,
        region=object_store.s3_region,
        access_key_id=object_store.s3_access_key_id,
        secret_access_key=object_store.s3_secret_access_key,
    )


@pytest.fixture(scope="session")
def store(bucket: R2Settings) -> ArtifactStore:
    return connect(bucket)
