import socket
import stat
from pathlib import Path

import pytest

from deployments.local.credentials import load, load_or_create
from deployments.local.errors import CredentialsUnusable
from deployments.local.layout import choose_ports, is_free


def test_a_free_preferred_port_is_taken_without_a_word(tmp_path: Path) -> None:
    free, _ = choose_ports(tmp_path / "first.json", {})
    ports, notices = choose_ports(tmp_path / "ports.json", {"api": free.api})
    assert (ports.api, notices) == (free.api, ())


def test_a_busy_preferred_port_is_replaced_and_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        busy = int(listener.getsockname()[1])
        ports, notices = choose_ports(tmp_path / "ports.json", {"api": busy})
    assert notices == (f"Port {busy} is busy: api uses {ports.api}.",)
    assert is_free(ports.api)


def test_no_two_listeners_get_one_port(tmp_path: Path) -> None:
    ports, _ = choose_ports(tmp_path / "ports.json", {})
    chosen = list(ports.model_dump().values())
    assert len(set(chosen)) == len(chosen)


def test_the_ports_of_last_time_come_again(tmp_path: Path) -> None:
    first, _ = choose_ports(tmp_path / "ports.json", {})
    second, _ = choose_ports(tmp_path / "ports.json", {})
    assert second == first


def test_a_damaged_ports_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"api": 1')
    ports, _ = choose_ports(tmp_path / "ports.json", {})
    assert ports.api != 1


def test_credentials_are_made_once_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path).secret_values() == made.secret_values()
    assert len(set(made.secret_values())) == 12
    # 32 bytes each, in hex or, behind `whsec_` and `operator:`, in base 64.
    assert min(len(secret.removeprefix("whsec_")) for secret in made.secret_values()) == 44


def test_credentials_do_not_show_when_printed(tmp_path: Path) -> None:
    made = load_or_create(tmp_path / "credentials.json")
    assert not [secret for secret in made.secret_values() if secret in repr(made)]


def test_credentials_others_can_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(CredentialsUnusable, match="chmod 600"):
        load(path)


def test_a_file_that_holds_no_credentials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.touch(mode=0o600)
    with pytest.raises(CredentialsUnusable, match="no credentials file"):
        load_or_create(path)
