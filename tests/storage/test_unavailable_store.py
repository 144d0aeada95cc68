import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import StorageError, connect


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give a port that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
    return port


def at(port: int) -> R2Settings:
    return R2Settings(
        endpoint=f"http://127.0.0.1:{port}", bucket="media", access_key_id="a", secret_access_key=SecretStr("b")
    )


@pytest.mark.parametrize("port", ["silent_port", "closed_port"])
def test_a_dead_store_is_given_up_in_time(port: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    store = connect(at(request.getfixturevalue(port)), attempts=2, connect_seconds=0.5, read_seconds=0.5)
    started = time.monotonic()
    with pytest.raises(StorageError) as caught:
        store.fetch_key("uploads/video/a.mp4", tmp_path / "film", max_bytes=10)
    # Two tries of half a second and one pause of at most a second between them.
    assert time.monotonic() - started < 3
    assert caught.value.fault.code is FaultCode.STORAGE_UNAVAILABLE
    assert caught.value.fault.is_retryable
    assert list(tmp_path.iterdir()) == []


def test_refused_credentials_and_a_missing_bucket_say_what_is_wrong(bucket: R2Settings) -> None:
    stranger = connect(bucket.model_copy(update={"secret_access_key": SecretStr("wrong")}))
    with pytest.raises(StorageError, match="credentials"):
        stranger.head("work/x")
    with pytest.raises(StorageError, match="R2_BUCKET"):
        list(connect(bucket.model_copy(update={"bucket": "elsewhere"})).keys("work/"))
