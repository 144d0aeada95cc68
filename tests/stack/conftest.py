from collections.abc import Iterator

import pytest

from deployments.local.stack import SERVERS
from tests.servers import RunningStack, running_stack


@pytest.fixture(scope="package")
def servers() -> Iterator[RunningStack]:
    """All servers from wheels, under one supervisor, each closed to who has no credentials."""
    with running_stack(*SERVERS, protect_prefect=True) as stack:
        yield stack
