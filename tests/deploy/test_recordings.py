"""docs/recordings.md is what happens: each block is compared with what the commands say now."""

import re
from pathlib import Path

import pytest

from deployments.fleet.resources import Kind
from tests.deploy.account import RunningAccount, declared
from tests.deploy.commands import lipswap, lipswap_process
from tests.deploy.dockerfiles import ROOT
from tests.deploy.tomorrow import tomorrow

BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "recordings.md").read_text(encoding="utf-8"), re.DOTALL)
BY_HAND = "# In RunPod's console somebody lowers max workers to 1 and raises the idle time to an hour."


@pytest.fixture
def account(account_server: str) -> RunningAccount:
    """RunPod's REST v1, with nothing in it."""
    fresh = RunningAccount(account_server, "v1")
    fresh.forget()
    return fresh


def test_from_nothing_to_drift_to_nothing(account: RunningAccount, tmp_path: Path) -> None:
    declared(tmp_path / "mine.yaml")
    said = []

    def run(*words: str) -> None:
        in_place = [str(tmp_path / word) if word.endswith((".yaml", ".env")) else word for word in words]
        answer = lipswap("deploy", *in_place, account=account)
        said.append(f"$ lipswap deploy {' '.join(words)}")
        said.extend(line.rstrip() for line in answer.stdout.splitlines())
        if answer.returncode:
            said.append(f"# exit code {answer.returncode}")

    run("plan", "--file", "mine.yaml", "--no-image-check")
    run("apply", "--file", "mine.yaml", "--no-image-check", "--env-file", "endpoints.env")
    run("plan", "--file", "mine.yaml", "--no-image-check")
    account.edit(Kind.ENDPOINT, "lipswap-wav2lip", {"workersMax": 1, "idleTimeout": 3600})
    said.append(BY_HAND)
    run("diff", "--file", "mine.yaml")
    run("apply", "--file", "mine.yaml", "--no-image-check")
    run("destroy", "--file", "mine.yaml")
    run("destroy", "--file", "mine.yaml", "--yes")

    plain = re.sub(r"(_ENDPOINT=)\w+", r"\1ID", "\n".join(said))
    assert plain.splitlines() == BLOCKS[0].splitlines()


def test_what_doctor_says_of_ten_planted_faults(production: dict[str, str], tmp_path: Path) -> None:
    file = declared(tmp_path / "mine.yaml", bucket__origins=["https://page.example.com"])
    redis = production["JOBSTORE_REDIS_URL"].rpartition("@")[2]
    with tomorrow(tmp_path) as elsewhere:
        answer = lipswap_process(
            *("doctor", "--production", "--file", file),
            environment=production
            | {
                # A store that takes no key, lets no page in and has another clock; a certificate of nobody.
                "R2_ENDPOINT": elsewhere.replace("https", "http"),
                "FF_API_BASE_URL": elsewhere,
                "JOBSTORE_REDIS_URL": f"redis://:another@{redis}",
                "PREFECT_API_AUTH_STRING": "operator:another",
                "PREFECT_SERVER_ENCRYPTION_KEY": "",
                "RUNPOD_API_KEY": "another",
                "LIPSWAP_C2PA_CHAIN": "",
                "LIPSWAP_C2PA_KEY": "",
                "FF_API_SECRET": "",
            },
        )

    plain = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", re.sub(r"-86(?:39|40)\d s", "-86400 s", answer.stdout))
    assert [line.rstrip() for line in plain.splitlines()] == BLOCKS[1].splitlines()[1:]
    assert BLOCKS[1].splitlines()[0] == "$ lipswap doctor --production --file mine.yaml"
    assert sum(line.lstrip().startswith("problem ") for line in plain.splitlines()) >= 10
    assert answer.returncode == 1


def test_the_worked_example_of_a_day_is_what_plan_says() -> None:
    text = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```console\n\$ lipswap (plan .*)\n((?:.*\n)*?)```", text)

    answer = lipswap(*example[0].split())

    assert [line.rstrip() for line in answer.stdout.splitlines()] == example[1].splitlines()
