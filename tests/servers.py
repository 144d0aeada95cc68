"""Real servers for tests, each started once per session and only if a test asks for it.

Every fixture here starts its own small stack of one part (and what that stands on) in a background event loop,
so that it serves sync tests and async tests on any loop. To use them, import the fixtures in a conftest.py.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from blocks.settings import WorkerType
from deployments.local.addresses import StackAddresses
from deployments.local.gpu_endpoints import GpuWorkers
from deployments.local.services import ServiceName
from deployments.local.stack import EVERYTHING, Stack, StackSettings


class RunningStack:
    """A stack in a background loop, for tests that do not live on it."""

    def __init__(self, stack: Stack, portal: BlockingPortal) -> None:
        self._stack = stack
        self._portal = portal

    @property
    def addresses(self) -> StackAddresses:
        return self._stack.addresses

    @property
    def logs_directory(self) -> Path:
        return self._stack.logs_directory

    @property
    def credentials_path(self) -> Path:
        return self._stack.credentials_path

    def pids(self) -> dict[ServiceName, int]:
        return self._stack.pids()

    def kill(self, service: ServiceName) -> int:
        """`kill -9` one program; returns its pid. The supervisor starts it again."""
        return self._portal.call(self._stack.kill, service)

    def restart(self, service: ServiceName) -> None:
        self._portal.call(self._stack.restart, service)

    def until_ready(self, service: ServiceName) -> None:
        self._portal.call(self._stack.until_ready, service)


@contextmanager
def running_stack(  # noqa: PLR0913  # each is one separate thing that a stack is told
    *parts: ServiceName,
    data_directory: Path | None = None,
    discard: bool = False,
    worker_type: WorkerType = WorkerType.INPROCESS,
    gpu_workers: GpuWorkers | None = None,
    wishes: Mapping[str, str] | None = None,
    protect_prefect: bool = False,
) -> Iterator[RunningStack]:
    """Run these parts (none named: everything) on free ports.

    Without a data directory a new one is made and removed; it is directly under the temporary directory, because
    root's Postgres runs under an account that cannot enter pytest's own, closed directories.
    """
    made = data_directory is None
    settings = StackSettings(
        data_directory=data_directory or Path(tempfile.mkdtemp(prefix="lipswap-test-")),
        parts=frozenset(parts) or EVERYTHING,
        worker_type=worker_type,
        preferred_ports={},
        gpu_workers=gpu_workers or GpuWorkers(),
        wishes=wishes or {},
        protect_prefect=protect_prefect,
        discard=made or discard,
    )
    # The background loop's thread must live as long as the stack: on Linux its end is the children's end.
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Stack(settings)) as stack:
        yield RunningStack(stack, portal)


def variables_of(at: StackAddresses) -> dict[str, str]:
    """Return what a process around Prefect reads from its environment to work on these servers."""
    return {
        "DO_NOT_TRACK": "1",
        "JOBSTORE_REDIS_URL": at.redis_url.get_secret_value(),
        "PREFECT_API_AUTH_STRING": at.prefect_login.get_secret_value(),
        "PREFECT_API_URL": at.prefect_api_url,
        "R2_ACCESS_KEY_ID": at.s3_access_key_id,
        "R2_BUCKET": at.s3_bucket,
        "R2_ENDPOINT": at.s3_endpoint,
        "R2_REGION": at.s3_region,
        "R2_SECRET_ACCESS_KEY": at.s3_secret_access_key.get_secret_value(),
        "RUNPOD_API_BASE": at.runpod_api_base,
        "RUNPOD_API_KEY": at.runpod_api_key.get_secret_value(),
        "RUNPOD_FACEFUSION_ENDPOINT": at.facefusion_endpoint,
        "RUNPOD_WAV2LIP_ENDPOINT": at.wav2lip_endpoint,
    }


def to_the_bucket(variables: Mapping[str, str]) -> dict[str, str]:
    """Return those of a process's variables that lead to the bucket: all that a GPU worker is told of the servers."""
    return {name: value for name, value in variables.items() if name.startswith("R2_")}


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[StackAddresses]:
    """A Valkey; `redis_url` of the result is its address, password included."""
    with running_stack(ServiceName.VALKEY) as stack:
        yield stack.addresses


@pytest.fixture(scope="session")
def object_store() -> Iterator[StackAddresses]:
    """A SeaweedFS with an empty bucket; the `s3_*` fields of the result say how to reach it."""
    with running_stack(ServiceName.OBJECT_STORE) as stack:
        yield stack.addresses
