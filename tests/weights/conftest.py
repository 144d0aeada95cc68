import random
from collections.abc import Iterator

import pytest

from tests.weights.host import Host, serving

CONTENT = random.Random(7).randbytes(300_000)  # noqa: S311  # any bytes will do


@pytest.fixture
def host() -> Iterator[Host]:
    """A host with one model, of 300 000 bytes."""
    with serving(Host(files={"/model.onnx": CONTENT})) as host:
        yield host
