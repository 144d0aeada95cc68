"""The database is lost and comes back from a dump, by the scripts that compose.yaml runs, without its containers."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis

from api_shim.client import Client
from deployments.local.addresses import StackAddresses
from deployments.local.layout import DataDirectory, load_ports
from deployments.local.postgres_place import choose_place, installed_package
from deployments.local.services import ServiceName
from deployments.requests import Inputs, upload_all
from flows.request import PipelineRequest
from gpu_tasks.contract.records import Status, TaskRecord
from tests.ha.counting import jobs_begun
from tests.servers import running_stack
from tests.waiting import wait_until

pytestmark = [pytest.mark.ha, pytest.mark.timeout(900)]

SCRIPTS = Path(__file__).parents[2] / "deployments" / "compose"
SAMPLES = Path(__file__).parents[2] / "samples"
RUN_SECONDS = 300.0
INPUTS = Inputs(
    target=str(SAMPLES / "target.mp4"), audio=str(SAMPLES / "speech.wav"), sources=(str(SAMPLES / "source.jpg"),)
)
OPTIONS = {"trim": {"start": 0.0, "end": 1.0}, "labels": {"kept": "through the loss"}}


@dataclass(frozen=True)
class Host:
    """One host's data, and a shell on it as the containers `backup` and `restore` have one."""

    data: Path
    dumps: Path

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run("/bin/sh", str(SCRIPTS / name), *arguments)

    def ask(self, sql: str) -> str:
        password = (self.dumps / "password").read_text(encoding="utf-8").strip()
        command = ("psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", sql)
        return self._run(*command, PGPASSWORD=password).stdout.strip()

    def lose_database(self) -> None:
        shutil.rmtree(choose_place(DataDirectory(self.data).of(ServiceName.POSTGRES)).cluster)

    def _run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        directory = DataDirectory(self.data)
        return subprocess.run(
            command,
            env={
                "PATH": f"{installed_package() / 'pginstall' / 'bin'}:/usr/bin:/bin",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(load_ports(directory.ports).postgres),
                "PGUSER": "postgres",
                "PGDATABASE": "prefect",
                "PGPASSWORD_FILE": str(self.dumps / "password"),
                "BACKUPS": str(self.dumps),
            }
            | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    # Root's Postgres runs under an account that cannot enter pytest's own, closed directories.
    data = Path(tempfile.mkdtemp(prefix="lipswap-test-"))
    yield Host(data, tmp_path)
    with running_stack(ServiceName.POSTGRES, data_directory=data, discard=True):
        pass


def know_password(host: Host, at: StackAddresses) -> None:
    password = at.postgres_url.get_secret_value().partition("@")[0].rpartition(":")[2]
    (host.dumps / "password").write_text(password + "\n", encoding="utf-8")


def ran(at: StackAddresses) -> TaskRecord:
    with Client(at.api_url) as client:
        request: PipelineRequest = upload_all(client, INPUTS, OPTIONS)
        return client.wait(client.run(request).task_id, timeout=RUN_SECONDS)


def test_runs_are_there_again_after_the_loss_of_the_database(host: Host) -> None:
    with running_stack(data_directory=host.data) as stack:
        know_password(host, stack.addresses)
        before = ran(stack.addresses)
        assert before.status is Status.COMPLETED, before.error
        # The record is told first. Of a run that the dump has at work, the next orchestrator would tell the end.
        stands = f"select state_type from flow_run where id = '{before.task_id}'"  # noqa: S608  # Prefect's own id
        wait_until(lambda: host.ask(stands) == "COMPLETED", seconds=60, what="Prefect knows that the run has ended")
        made = host.script("backup.sh")
        assert made.returncode == 0, made.stderr
    dump = Path(made.stdout.strip())
    assert dump.stat().st_mode & 0o077 == 0

    host.lose_database()
    with running_stack(ServiceName.POSTGRES, data_directory=host.data):
        assert host.ask("select to_regclass('flow_run') is null") == "t"
        restored = host.script("restore.sh", dump.name)
        assert restored.returncode == 0, restored.stderr
        known = host.ask("select count(*) from flow_run")
        assert int(known) >= 1

        # Half a dump changes nothing.
        (host.dumps / "half.dump").write_bytes(dump.read_bytes()[: dump.stat().st_size // 2])
        assert host.script("restore.sh", "half.dump").returncode != 0
        assert host.ask("select count(*) from flow_run") == known

    with running_stack(data_directory=host.data) as stack:
        at = stack.addresses
        with Redis.from_url(at.redis_url.get_secret_value()) as redis:
            # What readers see now comes from the restored database.
            redis.flushall()
        with Client(at.api_url) as client:
            after = client.status(before.task_id)
            listed = client.list_tasks()
        begun = jobs_begun(at)
        again = ran(at)

        assert after.status is Status.COMPLETED
        assert (after.created_at, after.request) == (before.created_at, before.request)
        assert after.result
        assert before.result
        assert after.result.output_key == before.result.output_key
        assert [task.task_id for task in listed.tasks] == [before.task_id]
        # Receipts lie in the bucket: nothing is paid for twice.
        assert again.status is Status.COMPLETED
        assert jobs_begun(at) == begun


def test_a_wrong_call_says_what_dumps_there_are(host: Host) -> None:
    (host.dumps / "prefect-20261125T010000Z.dump").touch()
    with running_stack(ServiceName.POSTGRES, data_directory=host.data) as stack:
        know_password(host, stack.addresses)
        asked = host.script("restore.sh")

    assert asked.returncode == 2
    assert "prefect-20261125T010000Z.dump" in asked.stderr
