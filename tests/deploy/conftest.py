"""One RunPod account for the folder; each test has a prefix of its own in it."""

from collections.abc import Iterator

import pytest

from tests.deploy.account import RunningAccount, running_account
from tests.servers import object_store

__all__ = ["object_store"]


@pytest.fixture
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAccount]:
    with running_account(tmp_path_factory.mktemp("account")) as running:
        yield running
