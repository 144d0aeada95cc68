"""The compose files as they are written; what they start, together and twice, is `make test-ha`."""

import json
import re
import ssl
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from blocks.redis_url import check_redis_url
from blocks.settings import OrchestratorSettings
from deployments.compose.first_time import make
from deployments.images.start import SECRETS, SecretFileError, secrets_from_files
from gpu_tasks.provenance.settings import SigningSettings
from gpu_tasks.settings import R2Settings
from tests.deploy.dockerfiles import ROOT

FOLDER = ROOT / "deployments" / "compose"
ONE_HOST, HA = (
    yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in ("compose.yaml", "compose.ha.yaml")
)
CHECK = Path(sys.executable).with_name("check-jsonschema")
OURS = ("migrate", "prefect-api", "deploy", "orchestrator", "api", "ui")


def test_they_follow_the_schema() -> None:
    files = (FOLDER / "compose.yaml", FOLDER / "compose.ha.yaml")
    checked = subprocess.run(
        [CHECK, "--builtin-schema", "vendor.compose-spec", *files], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


def test_what_is_mounted_is_there() -> None:
    mounts = [mount for service in ONE_HOST["services"].values() for mount in service.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]

    assert files
    assert [file for file in files if not (FOLDER / file).is_file()] == []


def test_every_secret_is_a_file_that_first_time_makes(tmp_path: Path) -> None:
    make(tmp_path)

    asked = {secret for service in ONE_HOST["services"].values() for secret in service.get("secrets", [])}
    assert asked <= set(ONE_HOST["secrets"])
    assert {Path(each["file"]).name for each in ONE_HOST["secrets"].values()} <= {
        path.name for path in tmp_path.iterdir()
    }
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_second_first_time_changes_nothing(tmp_path: Path) -> None:
    left = make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "runpod_api_key").write_text("rpa_1", encoding="utf-8")

    assert left == ("runpod_api_key", "r2_access_key_id", "r2_secret_access_key")
    assert make(tmp_path) == ("r2_access_key_id", "r2_secret_access_key")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before | {"runpod_api_key": b"rpa_1"}


@pytest.mark.parametrize("service", OURS)
def test_no_secret_is_in_a_variable(service: str) -> None:
    environment = ONE_HOST["services"][service].get("environment", {})

    assert not set(environment) & set(SECRETS)
    assert all(name.removesuffix("_FILE") in SECRETS for name in environment if name.endswith("_FILE"))


def test_whoever_comes_in_from_outside_is_asked_who_they_are() -> None:
    """By service that the proxy leads to: the variable that makes it ask."""
    asking = {
        "api": "FF_API_SECRET_FILE",
        "ui": "LIPSWAP_PAGE_PASSWORD_FILE",
        "prefect-api": "PREFECT_SERVER_API_AUTH_STRING_FILE",
        "grafana": "GF_SECURITY_ADMIN_PASSWORD__FILE",
    }
    proxy = (FOLDER / "Caddyfile").read_text(encoding="utf-8")
    led_to = set(re.findall(r"(?:dynamic a|reverse_proxy) ([a-z-]+)[ :]\d+", proxy))

    assert led_to == set(asking)
    for service, variable in asking.items():
        assert variable in ONE_HOST["services"][service]["environment"], service


def test_every_variable_is_one_that_somebody_reads() -> None:
    known = {
        *(
            field.validation_alias or f"LIPSWAP_{name.upper()}"
            for name, field in OrchestratorSettings.model_fields.items()
        ),
        *(f"R2_{name.upper()}" for name in R2Settings.model_fields),
        *(f"LIPSWAP_C2PA_{name.upper()}" for name in SigningSettings.model_fields),
        *("PREFECT_API_URL", "FF_API_SECRET", "FF_API_BASE_URL", "FF_POLL_INTERVAL", "FF_POLL_TIMEOUT"),
        # The page's own settings come with the page.
        *("LIPSWAP_PAGE_API_URL", "LIPSWAP_PAGE_ORIGINS", "LIPSWAP_PAGE_BEHIND_PROXY"),
        *SECRETS,
    }
    given = {
        name.removesuffix("_FILE")
        for service in ("deploy", "orchestrator", "api", "ui")
        for name in ONE_HOST["services"][service]["environment"]
    }

    assert given - known == set()


@pytest.mark.parametrize("service", ["deploy", "orchestrator"])
def test_the_modules_that_are_run_are_there(service: str) -> None:
    python, flag, module = ONE_HOST["services"][service]["command"]

    assert (python, flag) == ("python", "-m")
    assert find_spec(module) is not None


def test_more_than_one_is_only_of_what_may_be_more_than_one() -> None:
    replicas = {name: said["deploy"]["replicas"] for name, said in HA["services"].items() if "deploy" in said}

    assert replicas == {"prefect-api": 2, "prefect-services": 2, "orchestrator": 2, "api": 2, "ui": 2}
    assert "--no-services" in HA["services"]["prefect-api"]["command"]


def test_the_encrypted_address_of_redis_is_accepted_and_its_certificate_verifies(tmp_path: Path) -> None:
    make(tmp_path)
    address = (tmp_path / "job_store_url").read_text(encoding="utf-8")
    assert check_redis_url(SecretStr(address))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "redis.pem", tmp_path / "redis.key")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "authority.pem"))
    assert _handshake(context, trusting, "redis")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(context, trusting, "elsewhere")


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> bool:
    """Both ends in memory: what a client of this name would see."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                continue
        if all(done):
            return True
    return False


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("rpa_1\n", encoding="utf-8")

    assert secrets_from_files({"RUNPOD_API_KEY_FILE": str(tmp_path / "key"), "SSL_CERT_FILE": "/etc/ca"}) == {
        "RUNPOD_API_KEY": "rpa_1"
    }


@pytest.mark.parametrize(
    ("files", "variables", "sentence"),
    [
        ({}, {"R2_ACCESS_KEY_ID_FILE": "{}/key"}, "R2_ACCESS_KEY_ID_FILE: .* cannot be read"),
        ({"key": ""}, {"R2_ACCESS_KEY_ID_FILE": "{}/key"}, "R2_ACCESS_KEY_ID_FILE: .* is empty"),
        ({"key": "a"}, {"FF_API_SECRET_FILE": "{}/key", "FF_API_SECRET": "b"}, "Both FF_API_SECRET and"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named(
    tmp_path: Path, files: dict[str, str], variables: dict[str, str], sentence: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")

    with pytest.raises(SecretFileError, match=sentence):
        secrets_from_files({name: value.format(tmp_path) for name, value in variables.items()})


def test_the_process_of_a_container_is_the_command_and_has_the_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("rpa_1\n", encoding="utf-8")
    show = "import os; print(os.getpid(), os.environ['RUNPOD_API_KEY'], 'RUNPOD_API_KEY_FILE' in os.environ)"

    with subprocess.Popen(
        [sys.executable, "-m", "deployments.images.start", sys.executable, "-c", show],
        env={"RUNPOD_API_KEY_FILE": str(tmp_path / "key")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        said, _ = process.communicate(timeout=60)

    assert said.split() == [str(process.pid), "rpa_1", "False"]


def test_our_processes_take_the_secrets_that_first_time_makes(tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("runpod_api_key", "r2_access_key_id", "r2_secret_access_key"):
        (tmp_path / name).write_text("from-others", encoding="utf-8")
    said = {name: str(value) for name, value in ONE_HOST["services"]["api"]["environment"].items()}
    environment = {
        name: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", re.sub(r"\$\{\w+:\?[^}]*\}", "example.com", value))
        for name, value in said.items()
    } | {"R2_ENDPOINT": "https://example.com"}
    environment = {name: value.replace("/run/secrets", str(tmp_path)) for name, value in environment.items()}
    show = "from api_shim.settings import ShimSettings as S; print(S().runpod_webhook_url.get_secret_value())"

    done = subprocess.run(
        [sys.executable, "-m", "deployments.images.start", sys.executable, "-c", show],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    token = (tmp_path / "runpod_hook_token").read_text(encoding="utf-8")
    assert done.stdout.strip() == f"https://api.example.com/hooks/runpod/{token}", done.stderr


def test_the_dashboard_and_the_alerts_ask_for_the_same_things_by_name() -> None:
    dashboard: Any = json.loads((FOLDER / "grafana" / "lipswap.json").read_text(encoding="utf-8"))
    alerts = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]

    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    runbooks = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9-]", "", line[3:].lower().replace(" ", "-"))
        for line in runbooks.splitlines()
        if line.startswith("## ")
    }
    assert {rule["annotations"]["runbook"].partition("#")[2] for rule in rules} <= headings
    assert all(asked)
