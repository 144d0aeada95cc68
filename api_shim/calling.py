"""What the synchronous and the asynchronous client have in common besides the calls themselves."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import IO, Final, Literal

import httpx
from pydantic import SecretStr

from api_shim import calls
from api_shim.wire import UploadAnswer

Kind = Literal["audio", "video", "source"]
# How often `follow` looks for progress; the end is pushed and comes at once.
FOLLOW_SECONDS: Final = 1.0
# How long one request of `wait` is kept open: proxies close what is silent for a minute.
LONGEST_WAIT_SECONDS: Final = 50.0


def authorization(secret: SecretStr | None) -> dict[str, str]:
    """Return the headers with which the service knows us."""
    return {"Authorization": f"Bearer {secret.get_secret_value()}"} if secret else {}


def upload_call(stream: IO[bytes], path: Path, kind: Kind) -> calls.Call[UploadAnswer]:
    """Return the call that stores a file of a kind."""
    content_type = guess_type(path.name)[0] or "application/octet-stream"
    return calls.upload_call(stream, filename=path.name, prefix=f"uploads/{kind}", content_type=content_type)


def next_wait(deadline: float, longest: float) -> float:
    """Return how many seconds the next request may wait."""
    return max(0.001, min(longest, deadline - time.monotonic()))


@contextmanager
def answered_by(base_url: str) -> Iterator[None]:
    """Turn a connection that failed into ApiUnreachableError."""
    try:
        yield
    except httpx.TransportError as error:
        raise calls.unreachable(base_url) from error


@contextmanager
def partial_file(destination: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes `destination` when the block succeeds."""
    partial = destination.with_name(f"{destination.name}.partial")
    try:
        yield partial
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
