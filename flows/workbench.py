"""What a stage works with in a process of the CPU pool: the bucket, and a folder that is gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore, connect


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lipswap-stage-") as folder:
        yield Path(folder)


@lru_cache(maxsize=4)
def store_of(r2: R2Settings) -> ArtifactStore:
    """Return this process's store for a bucket.

    One for all stages: making a client takes 50 ms of CPU, and its first request a connection. The settings change
    when an operator edits the block.
    """
    return connect(r2)
