"""Where everything of a running stack is reached: what a client, a test or the command line needs."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from deployments.local.credentials import Credentials, load
from deployments.local.gpu_endpoints import gpu_endpoints_address
from deployments.local.layout import HOST, DataDirectory, Ports, load_ports
from deployments.local.leftovers import supervisor_pid
from deployments.local.object_store import object_store_address
from deployments.local.postgres_server import postgres_address
from deployments.local.prefect_server import prefect_address
from deployments.local.valkey_server import valkey_address
from gpu_tasks.settings import R2Settings


class StackAddresses(BaseModel):
    """Every address with its credential.

    `api_secret` and `prefect_login` are asked for only where the stack protects its API, or Prefect; who sends them to
    one that does not ask is served all the same.
    """

    model_config = ConfigDict(frozen=True)

    api_url: str
    api_secret: SecretStr
    page_url: str
    prefect_api_url: str
    prefect_ui_url: str
    prefect_login: SecretStr
    s3_endpoint: str
    s3_region: str
    s3_bucket: str
    s3_access_key_id: str
    s3_secret_access_key: SecretStr
    redis_url: SecretStr
    postgres_url: SecretStr
    runpod_api_base: str
    runpod_api_key: SecretStr
    wav2lip_endpoint: str
    facefusion_endpoint: str

    @property
    def r2(self) -> R2Settings:
        """The bucket, as its clients are told of it."""
        return R2Settings(
            endpoint=self.s3_endpoint,
            bucket=self.s3_bucket,
            region=self.s3_region,
            access_key_id=self.s3_access_key_id,
            secret_access_key=self.s3_secret_access_key,
        )


def stack_addresses(ports: Ports, credentials: Credentials) -> StackAddresses:
    """Derive every address from the ports and the credentials."""
    login = credentials.prefect_login()
    prefect = prefect_address(ports, login)
    store = object_store_address(ports, credentials)
    gpu = gpu_endpoints_address(ports, credentials)
    return StackAddresses(
        api_url=f"http://{HOST}:{ports.api}",
        api_secret=credentials.api_secret,
        page_url=f"http://{HOST}:{ports.page}",
        prefect_api_url=prefect.api_url,
        prefect_ui_url=prefect.ui_url,
        prefect_login=login,
        s3_endpoint=store.endpoint_url,
        s3_region=store.region,
        s3_bucket=store.bucket,
        s3_access_key_id=store.access_key_id,
        s3_secret_access_key=store.secret_access_key,
        redis_url=valkey_address(ports, credentials).url(),
        postgres_url=postgres_address(ports, credentials).url(),
        runpod_api_base=gpu.api_base,
        runpod_api_key=gpu.api_key,
        wav2lip_endpoint=gpu.wav2lip_endpoint,
        facefusion_endpoint=gpu.facefusion_endpoint,
    )


def running_addresses(data_directory: Path) -> StackAddresses | None:
    """Return the addresses of the stack another process runs in this data directory, or None.

    Raises:
        CredentialsUnusable: the credentials file is readable by others or damaged.
    """
    directory = DataDirectory(data_directory)
    if supervisor_pid(directory.lock) is None:
        return None
    return stack_addresses(load_ports(directory.ports), load(directory.credentials))
