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
    return object_store.r2


@pytest.fixture(scope="session")
def store(bucket: R2Settings) -> ArtifactStore:
    return connect(bucket)
