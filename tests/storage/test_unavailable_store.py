import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr

from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import StorageError, connect

BODY = bytes(range(256)) * 10_000


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Give a port that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Give a port that refuses connections; nobody else gets it meanwhile."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        yield server.getsockname()[1]


class Breaking(BaseHTTPRequestHandler):
    """Sends only half of every body until it has broken off so often as the server says."""

    def do_GET(self) -> None:
        assert isinstance(self.server, BreakingServer)
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        breaks = self.server.requests <= self.server.breaks
        self.wfile.write(BODY[: len(BODY) // 2] if breaks else BODY)

    def do_PUT(self) -> None:
        """Refuse, as S3 does while another request for the same key is under way."""
        self.rfile.read(int(self.headers["Content-Length"]))
        said = b"<Error><Code>OperationAborted</Code></Error>"
        self.send_response(409)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


class BreakingServer(ThreadingHTTPServer):
    def __init__(self, breaks: int) -> None:
        super().__init__(("127.0.0.1", 0), Breaking)
        self.breaks, self.requests = breaks, 0


@contextmanager
def breaking_server(breaks: int) -> Iterator[BreakingServer]:
    with BreakingServer(breaks) as server:
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join(timeout=10)


def test_a_body_that_broke_off_is_fetched_again(tmp_path: Path) -> None:
    with breaking_server(breaks=2) as server:
        artifact = connect(at(server.server_port)).fetch_key("work/film", tmp_path / "film", max_bytes=10_000_000)
    assert (tmp_path / "film").read_bytes() == BODY
    assert artifact.size_bytes == len(BODY)
    assert server.requests == 3


def test_a_small_object_that_was_not_taken_is_not_said_to_be_there() -> None:
    with breaking_server(breaks=0) as server, pytest.raises(StorageError) as caught:
        connect(at(server.server_port)).put_bytes("results/of-a-task", b"{}", "application/json")
    assert caught.value.fault.code is FaultCode.STORAGE_UNAVAILABLE


def test_a_body_that_always_breaks_off_is_given_up(tmp_path: Path) -> None:
    with breaking_server(breaks=99) as server, pytest.raises(StorageError) as caught:
        connect(at(server.server_port)).fetch_key("work/film", tmp_path / "film", max_bytes=10_000_000)
    assert caught.value.fault.code is FaultCode.STORAGE_UNAVAILABLE
    assert server.requests == 3
    assert list(tmp_path.iterdir()) == []


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
    # Two tries of half a second and one pause of at most a second between them; unasked it would read for two minutes.
    assert time.monotonic() - started < 10
    assert caught.value.fault.code is FaultCode.STORAGE_UNAVAILABLE
    assert caught.value.fault.is_retryable
    assert list(tmp_path.iterdir()) == []


def test_refused_credentials_and_a_missing_bucket_say_what_is_wrong(bucket: R2Settings) -> None:
    stranger = connect(bucket.model_copy(update={"secret_access_key": SecretStr("wrong")}))
    with pytest.raises(StorageError, match="R2_SECRET_ACCESS_KEY") as caught:
        stranger.head("work/x")
    assert caught.value.fault.code is FaultCode.STORAGE_REFUSED
    assert not caught.value.fault.is_retryable
    with pytest.raises(StorageError, match="R2_BUCKET") as caught:
        list(connect(bucket.model_copy(update={"bucket": "elsewhere"})).keys("work/"))
    assert caught.value.fault.code is FaultCode.STORAGE_REFUSED
