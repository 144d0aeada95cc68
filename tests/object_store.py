"""A real object store for tests: `weed mini` on loopback, empty, with throw-away keys."""

import os
import secrets
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from gpu_tasks.contract.faults import FaultError
from gpu_tasks.s3 import make_client
from gpu_tasks.settings import R2Settings
from gpu_tasks.storage import ArtifactStore
from tests.waiting import wait_until

BUCKET = "media"
_PORTS = ("s3.port", "s3.port.grpc", "master.port", "volume.port", "filer.port", "admin.port")
# Each port is also used plus this number, for gRPC.
_GRPC_OFFSET = 10_000


@contextmanager
def object_store(folder: Path) -> Iterator[R2Settings]:
    """Run a store with one empty bucket; it is gone when the context ends."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    settings = R2Settings(
        endpoint=f"http://127.0.0.1:{ports['s3.port']}",
        bucket=BUCKET,
        access_key_id=secrets.token_hex(8),
        secret_access_key=SecretStr(secrets.token_hex(16)),
    )
    arguments = [
        *("-dir", str(folder), "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *("-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-s3.cacheCapacityMB=0"),
    ]
    environment = {
        **os.environ,
        "GOMEMLIMIT": "400MiB",
        "AWS_ACCESS_KEY_ID": settings.access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
    }
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sysconfig.get_path("scripts")) / "weed"), "mini", *arguments],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(lambda: _answers(settings), seconds=60, what="the object store keeps an object")
            yield settings
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def _answers(settings: R2Settings) -> bool:
    """Try a whole PUT and GET: a store that lists buckets may still refuse objects."""
    client = make_client(settings, attempts=1, connect_seconds=2, read_seconds=5)
    try:
        client.create_bucket(Bucket=settings.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            return False
    except BotoCoreError:
        return False
    try:
        return ArtifactStore(client, settings.bucket).put_json("work/probe.json", settings, if_absent=False)
    except FaultError:
        return False


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
            if port + _GRPC_OFFSET <= 65_535:
                ports.append(port)
        return ports
