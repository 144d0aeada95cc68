"""plan, apply, drift and destroy against a server that speaks RunPod's REST v1, by the command line."""

from pathlib import Path
from typing import Any

import pytest

from deployments.fleet.resources import Kind
from tests.deploy.account import QUOTA, RunningAccount, declared
from tests.deploy.commands import lipswap

APPLY = ("deploy", "apply", "--no-image-check")
PLAN = ("deploy", "plan", "--no-image-check")
ALL = ["lipswap-facefusion", "lipswap-wav2lip"]
# Requests that make everything: v2 has image and environment inside the endpoint.
WRITES = {"v1": 4, "v2": 2}


def test_from_nothing_to_running_to_drift_to_nothing(account: RunningAccount, tmp_path: Path) -> None:
    file = declared(tmp_path / "fleet.yaml")

    planned = lipswap(*PLAN, "--file", file, account=account)
    assert planned.returncode == 0
    assert planned.stdout.splitlines() == [
        "create template lipswap-wav2lip",
        "create template lipswap-facefusion",
        "create endpoint lipswap-wav2lip",
        "create endpoint lipswap-facefusion",
    ]
    assert account.writes() == 0

    applied = lipswap(*APPLY, "--file", file, "--env-file", tmp_path / "ids.env", account=account)
    assert applied.returncode == 0
    assert account.names(Kind.ENDPOINT) == ALL
    ids = (tmp_path / "ids.env").read_text(encoding="utf-8")
    assert [line.partition("=")[0] for line in ids.splitlines()] == [
        "RUNPOD_WAV2LIP_ENDPOINT",
        "RUNPOD_WAV2LIP_GPU",
        "RUNPOD_FACEFUSION_ENDPOINT",
        "RUNPOD_FACEFUSION_GPU",
    ]

    again = lipswap(*PLAN, "--file", file, account=account)
    assert again.stdout.splitlines() == ["No change: everything under lipswap is as declared."]
    before = account.writes()
    assert lipswap(*APPLY, "--file", file, account=account).returncode == 0
    assert account.writes() == before

    by_hand: dict[str, dict[str, Any]] = {
        "v1": {"workersMax": 1, "idleTimeout": 3600},
        "v2": {"workers": {"min": 0, "max": 1, "idleTimeout": 3600}},
    }
    account.edit(Kind.ENDPOINT, "lipswap-wav2lip", by_hand[account.version])
    account.edit(Kind.TEMPLATE, "lipswap-wav2lip", {"env": {"R2_SECRET_ACCESS_KEY": "typed-in-by-hand"}})
    drift = lipswap("deploy", "diff", "--file", file, account=account)
    assert drift.returncode == 1
    assert "    workers_max: 1 -> 2" in drift.stdout
    assert "    idle_seconds: 3600 -> 30" in drift.stdout
    assert "    env.R2_SECRET_ACCESS_KEY: set -> another value" in drift.stdout
    assert "typed-in-by-hand" not in drift.stdout

    assert lipswap(*APPLY, "--file", file, account=account).returncode == 0
    assert lipswap("deploy", "diff", "--file", file, account=account).returncode == 0

    told = lipswap("deploy", "destroy", "--file", file, account=account)
    assert told.returncode == 1
    assert account.names(Kind.ENDPOINT) == ALL
    assert lipswap("deploy", "destroy", "--file", file, "--yes", account=account).returncode == 0
    assert account.names(Kind.ENDPOINT) == account.names(Kind.TEMPLATE) == []


@pytest.mark.parametrize("written", [0, 1, 3])
def test_an_apply_that_broke_off_is_finished_by_the_next(account: RunningAccount, tmp_path: Path, written: int) -> None:
    file = declared(tmp_path / "fleet.yaml")
    written = min(written, WRITES[account.version] - 1)
    account.misbehave(refuse_after=written)

    broken = lipswap(*APPLY, "--file", file, account=account)
    assert broken.returncode == 1
    assert "apply again" in broken.stdout
    assert account.writes() == written

    account.misbehave()
    finished = lipswap(*APPLY, "--file", file, account=account)
    assert finished.returncode == 0
    assert account.writes() == WRITES[account.version] - written
    assert account.names(Kind.ENDPOINT) == ALL


@pytest.mark.parametrize("written", [0, 1])
def test_a_create_whose_answer_was_lost_is_not_sent_twice(
    account: RunningAccount, tmp_path: Path, written: int
) -> None:
    file = declared(tmp_path / "fleet.yaml")
    account.misbehave(writes_before_silence=written)

    assert lipswap(*APPLY, "--file", file, account=account).returncode == 0
    assert account.names(Kind.ENDPOINT) == ALL
    assert len(account.names(Kind.TEMPLATE)) == 2


def test_a_canary_is_a_second_endpoint_and_goes_when_it_is_no_longer_declared(
    account: RunningAccount, tmp_path: Path
) -> None:
    canary = {"tag": "20261126-1", "weight": 10}
    with_canary = declared(tmp_path / "with.yaml", endpoints__wav2lip__canary=canary)
    without = declared(tmp_path / "without.yaml")

    applied = lipswap(*APPLY, "--file", with_canary, account=account)
    assert "lipswap-wav2lip-canary" in account.names(Kind.ENDPOINT)
    assert any(line.startswith("RUNPOD_WAV2LIP_ENDPOINT_CANARY=") for line in applied.stdout.splitlines())

    assert "not declared: endpoint lipswap-wav2lip-canary" in lipswap(*PLAN, "--file", without, account=account).stdout
    assert lipswap(*APPLY, "--file", without, account=account).returncode == 0
    assert "lipswap-wav2lip-canary" in account.names(Kind.ENDPOINT)
    assert lipswap(*APPLY, "--file", without, "--prune", account=account).returncode == 0
    assert account.names(Kind.ENDPOINT) == ALL


def test_a_volume_stays_unless_it_is_named(account: RunningAccount, tmp_path: Path) -> None:
    volumes = {"models": {"size_gb": 40, "data_center": "EU-RO-1"}}
    file = declared(tmp_path / "fleet.yaml", volumes=volumes, endpoints__wav2lip__volume="models")
    assert lipswap(*APPLY, "--file", file, account=account).returncode == 0
    assert "No change" in lipswap(*PLAN, "--file", file, account=account).stdout

    moved = declared(
        tmp_path / "moved.yaml",
        volumes={"models": {"size_gb": 40, "data_center": "US-TX-3"}},
        endpoints__wav2lip__volume="models",
    )
    assert "cannot move" in lipswap(*APPLY, "--file", moved, account=account).stdout

    assert lipswap("deploy", "destroy", "--yes", "--file", file, account=account).returncode == 0
    assert account.names(Kind.VOLUME) == ["lipswap-models"]
    assert lipswap("deploy", "destroy", "--yes", "--volumes", "--file", file, account=account).returncode == 0
    assert account.names(Kind.VOLUME) == []


def test_workers_above_the_quota_are_refused_before_anything_is_made(account: RunningAccount, tmp_path: Path) -> None:
    file = declared(tmp_path / "fleet.yaml", endpoints__wav2lip__workers={"min": 0, "max": QUOTA})

    refused = lipswap(*APPLY, "--file", file, account=account)

    assert refused.returncode == 1
    assert f"asks for {QUOTA + 3} workers, but worker_quota is {QUOTA}" in refused.stdout
    assert account.writes() == 0


def test_a_wrong_key_and_a_missing_variable_are_named(account: RunningAccount, tmp_path: Path) -> None:
    file = declared(tmp_path / "fleet.yaml")

    assert "RUNPOD_API_KEY" in lipswap(*PLAN, "--file", file, account=account, RUNPOD_API_KEY="another-key").stdout
    missing = lipswap(*PLAN, "--file", file, account=account, R2_BUCKET="")
    assert missing.returncode == 1
    assert "R2_BUCKET" in missing.stdout
    assert account.writes() == 0
