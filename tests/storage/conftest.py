from collections.abc import Iterator

import pytest

from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect
from tests.object_store import object_store


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[R2Settings]:
    with object_store(tmp_path_factory.mktemp("bucket")) as settings:
        yield settings


@pytest.fixture(scope="session")
def store(bucket: R2Settings) -> ArtifactStore:
    return connect(bucket)
