"""What a release does to the database of Prefect: tables and blocks are taken over, and a key it has begun without."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography.fernet import Fernet

from deployments.local.addresses import StackAddresses
from deployments.local.postgres_place import installed_package
from deployments.local.services import ServiceName
from tests.deploy.commands import lipswap_process
from tests.ha.fleet import COMPOSE, LOGIN, Fleet, free_ports, server_environment, until_up
from tests.servers import running_stack

pytestmark = [pytest.mark.ha, pytest.mark.timeout(600)]

MIGRATE = [
    str(word)
    for word in yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]["migrate"]["command"]
][1:]
DOCS = Path(__file__).parents[2] / "docs" / "deploy.md"
# Two of Prefect's own migrations before the last one that it has today.
EARLIER = "50737cdaee36"
# The block of an earlier release: without what came later, and with what nobody asks for any more.
OF_AN_EARLIER_RELEASE = """
from prefect.blocks.core import Block
class RunPodEndpoint(Block):
    _block_type_name = "Lipswap RunPod endpoint"
    _block_type_slug = "lipswap-runpod-endpoint"
    endpoint_id: str = ""
    no_longer_asked_for: int = 1
"""
OF_TODAY = "from blocks.runpod import RunPodEndpoint"
SAVE = "from prefect.blocks.system import Secret; Secret(value='hidden').save('kept', overwrite=True)"
LOAD = "from prefect.blocks.system import Secret; print(Secret.load('kept').get())"


@pytest.fixture(scope="module")
def servers() -> Iterator[StackAddresses]:
    with running_stack(ServiceName.POSTGRES, ServiceName.VALKEY, ServiceName.OBJECT_STORE) as stack:
        yield stack.addresses


class Server:
    """One Prefect server after the other on the same database, each with a key or without."""

    def __init__(self, at: StackAddresses, fleet: Fleet) -> None:
        self._at, self._fleet, self._started, self._commands = at, fleet, 0, 0
        (self._port,) = free_ports(1)

    def restart(self, key: str) -> None:
        if self._started:
            self._fleet.kill(f"prefect-{self._started}")
        self._started += 1
        name, environment = (
            f"prefect-{self._started}",
            server_environment(self._at) | {"PREFECT_SERVER_ENCRYPTION_KEY": key},
        )
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port), "--no-services"]
        if self._started == 1:
            self.prefect(*MIGRATE)
        self._fleet.start(name, command, environment)
        until_up(self._fleet, name, f"http://127.0.0.1:{self._port}/api/health")

    @property
    def address(self) -> dict[str, str]:
        return {"PREFECT_API_URL": f"http://127.0.0.1:{self._port}/api", "PREFECT_API_AUTH_STRING": LOGIN}

    def prefect(self, *words: str) -> None:
        """Run one of Prefect's commands on the database, beside the server, to its end."""
        self._commands += 1
        self._fleet.run(f"command-{self._commands}", ["prefect", *words], server_environment(self._at))

    def python(self, code: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.address | {"HOME": str(self._fleet.folder), "PREFECT_LOGGING_LEVEL": "CRITICAL"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()

    def sql(self, statement: str) -> str:
        url = self._at.postgres_url.get_secret_value().replace("+asyncpg", "")
        command = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", statement, url)
        path = f"{installed_package() / 'pginstall' / 'bin'}:/usr/bin:/bin"
        done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()


@pytest.fixture
def server(servers: StackAddresses, tmp_path: Path) -> Iterator[Server]:
    fleet = Fleet(tmp_path)
    try:
        yield Server(servers, fleet)
    finally:
        fleet.stop()


def test_a_database_that_began_without_a_key_goes_over_to_one(server: Server, servers: StackAddresses) -> None:
    take, forget = re.findall(r'--command "([^"]+)"', DOCS.read_text(encoding="utf-8"))

    server.restart("")
    server.python(SAVE)
    key = server.sql(take)
    assert Fernet(key).encrypt(b"a block")

    server.restart(key)
    server.sql(forget)
    assert server.python(LOAD) == "hidden"
    # It does not come back by what is written later.
    server.python(SAVE)
    assert server.sql(take) == ""
    assert encryption(server, servers, key) == ("ok", "a key is set, and the server reads its blocks")

    server.restart(Fernet.generate_key().decode())
    assert encryption(server, servers, key) == ("problem", "the server cannot decrypt its blocks")


def test_tables_of_an_earlier_prefect_are_migrated_with_what_they_hold(server: Server) -> None:
    # Blocks of the other tests are encrypted with other keys.
    server.restart(Fernet.generate_key().decode())
    server.python(SAVE.replace("kept", "migrated"))
    server.prefect("server", "database", "downgrade", "--yes", "--revision", EARLIER)
    assert server.sql("select version_num from alembic_version") == EARLIER

    server.prefect(*MIGRATE)

    assert server.sql("select version_num from alembic_version") not in {EARLIER, ""}
    assert server.python(LOAD.replace("kept", "migrated")) == "hidden"


def test_a_block_of_an_earlier_release_is_read_by_todays_and_the_other_way_round(server: Server) -> None:
    server.restart(Fernet.generate_key().decode())

    def save(kind: str) -> None:
        server.python(f"{kind}\nRunPodEndpoint(endpoint_id='abc').save('rolled', overwrite=True)")

    def load(kind: str) -> str:
        return server.python(f"{kind}\nprint(RunPodEndpoint.load('rolled').endpoint_id)")

    save(OF_AN_EARLIER_RELEASE)
    assert load(OF_TODAY) == "abc"
    save(OF_TODAY)
    assert load(OF_AN_EARLIER_RELEASE) == "abc"
    assert load(OF_TODAY) == "abc"


def encryption(server: Server, at: StackAddresses, key: str) -> tuple[str, str]:
    """What `doctor --production` says of the blocks."""
    environment = server.address | {
        "PREFECT_SERVER_ENCRYPTION_KEY": key,
        "JOBSTORE_REDIS_URL": at.redis_url.get_secret_value(),
        "R2_ACCESS_KEY_ID": at.s3_access_key_id,
        "R2_BUCKET": at.s3_bucket,
        "R2_ENDPOINT": at.s3_endpoint,
        "R2_SECRET_ACCESS_KEY": at.s3_secret_access_key.get_secret_value(),
    }
    said = lipswap_process("doctor", "--production", environment=environment).stdout
    found = re.search(r"^ *(\w+)  secrets in Prefect: (.*)$", said, re.MULTILINE)
    assert found, said
    return found[1], found[2]
