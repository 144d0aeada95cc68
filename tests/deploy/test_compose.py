"""The compose files as they are written; what they start, together and twice, is `make test-ha`."""

import re
import ssl
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import prefect.settings
import pytest
import yaml
from cryptography.fernet import Fernet
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from api_shim.settings import ShimSettings
from blocks.redis_url import check_redis_url
from blocks.settings import OrchestratorSettings
from deployments.compose.first_time import make
from deployments.images.start import SECRETS, SecretFileError, secrets_from_files
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.provenance.settings import SigningSettings
from tests.deploy.dockerfiles import ROOT
from tests.deploy.variables import variables_of
from ui_panel.settings import PageSettings, SignInSettings

FOLDER = ROOT / "deployments" / "compose"
ONE_HOST, HA = (
    yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in ("compose.yaml", "compose.ha.yaml")
)
CHECK = Path(sys.executable).with_name("check-jsonschema")
OURS = ("migrate", "prefect-api", "deploy", "orchestrator", "api", "ui", "doctor")


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


def test_prometheus_keeps_to_a_login_that_was_changed(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "prefect_auth").write_text("operator:another one", encoding="utf-8")
    make(tmp_path)
    assert (tmp_path / "prefect_password").read_text(encoding="utf-8") == "another one"


@pytest.mark.parametrize("service", OURS)
def test_no_secret_is_in_a_variable(service: str) -> None:
    environment = ONE_HOST["services"][service].get("environment", {})

    assert not set(environment) & set(SECRETS)
    assert {name for name in environment if name.endswith("_FILE") and name != "LIPSWAP_FILE"} <= {
        f"{name}_FILE" for name in SECRETS
    }


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


# What each of our processes is made from; Prefect's own variables are known to Prefect.
READS: dict[str, tuple[type[BaseSettings], ...]] = {
    "deploy": (OrchestratorSettings, SigningSettings),
    "orchestrator": (OrchestratorSettings, SigningSettings),
    "api": (ShimSettings, SigningSettings),
    "ui": (PageSettings, SignInSettings),
    "doctor": (ShimSettings, SigningSettings),
}
# Read by the command line's options and by `deployments.deploy` themselves, and the key that doctor looks at.
READ_BY_HAND = {
    "deploy": {"LIPSWAP_FILE"},
    "doctor": {"LIPSWAP_FILE", "FF_API_BASE_URL", "PREFECT_SERVER_ENCRYPTION_KEY"},
}


# Prefect's own, and what is kept from those who share .env with the page.
ELSEWHERE = {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PANEL_OAUTH_SECRET"}


@pytest.mark.parametrize("service", READS)
def test_every_variable_is_one_that_the_process_reads(service: str) -> None:
    known = {name for kind in READS[service] for name in variables_of(kind)} | READ_BY_HAND.get(service, set())
    environment = ONE_HOST["services"][service]["environment"]
    given = {name if name == "LIPSWAP_FILE" else name.removesuffix("_FILE") for name in environment}

    assert {name for name in given - known if name not in ELSEWHERE} == set()


def test_what_deploy_apply_writes_is_read_by_those_who_need_it() -> None:
    """`--env-file` names endpoints, GPUs and canaries; each of these processes is handed the whole file."""
    told = {
        f"RUNPOD_{stage.upper()}_{what}"
        for stage in (Stage.WAV2LIP, Stage.FACEFUSION)
        for what in ("ENDPOINT", "GPU", "ENDPOINT_CANARY")
    }

    assert told <= variables_of(OrchestratorSettings)
    for service in ("deploy", "orchestrator", "api", "doctor"):
        assert ONE_HOST["services"][service]["env_file"] == [".env", "endpoints.env"]
        assert not told & set(ONE_HOST["services"][service]["environment"])


def test_doctor_is_told_all_that_the_others_are_told() -> None:
    services = ONE_HOST["services"]
    told = {
        name: set(services[name]["environment"]) | set(services[name]["secrets"]) for name in services if name in READS
    }

    assert told["api"] | told["deploy"] | told["orchestrator"] <= told["doctor"]
    assert services["doctor"]["command"] == ["lipswap", "doctor", "--production"]


def test_every_process_of_prefects_server_has_the_key_of_the_blocks() -> None:
    merged = {name: dict(said["environment"]) for name, said in ONE_HOST["services"].items() if "environment" in said}
    for name, said in HA["services"].items():
        merged[name] = merged.get(name, {}) | said.get("environment", {})
    servers = {name for name, given in merged.items() if "PREFECT_SERVER_DATABASE_CONNECTION_URL_FILE" in given}

    assert servers == {"migrate", "prefect-api", "prefect-services"}
    assert all("PREFECT_SERVER_ENCRYPTION_KEY_FILE" in merged[name] for name in servers)


def test_prefect_knows_the_variables_that_it_is_given() -> None:
    environments = [said.get("environment", {}) for file in (ONE_HOST, HA) for said in file["services"].values()]
    given = {name.removesuffix("_FILE") for environment in environments for name in environment}
    # Read by the server past its settings (tests/ha/test_database.py), and by prefect-redis (tests/ha/test_ha.py).
    known_elsewhere = {"PREFECT_SERVER_ENCRYPTION_KEY", "PREFECT_REDIS_MESSAGING_URL"}

    asked = {name for name in given if name.startswith("PREFECT_")} - known_elsewhere
    assert {name for name in asked if not hasattr(prefect.settings, name)} == set()
    assert not hasattr(prefect.settings, "PREFECT_SERVER_NO_SUCH_THING")


def test_the_key_of_the_blocks_is_one_that_prefect_takes(tmp_path: Path) -> None:
    make(tmp_path)

    key = Fernet((tmp_path / "prefect_encryption_key").read_text(encoding="utf-8"))

    assert key.decrypt(key.encrypt(b"a block")) == b"a block"


@pytest.mark.parametrize("service", OURS)
def test_every_secret_that_is_named_is_mounted(service: str) -> None:
    said = ONE_HOST["services"][service]
    paths = re.findall(r"/run/secrets/([a-z0-9_]+)", " ".join(said["environment"].values()))

    assert paths
    assert set(paths) <= set(said["secrets"])


def test_the_page_can_ask_an_oauth_provider_in_the_place_of_a_password(tmp_path: Path) -> None:
    """By variables of .env alone, as docs/page.md names them."""
    make(tmp_path)
    (tmp_path / "oauth_secret").write_text("of-the-provider", encoding="utf-8")
    chosen = {
        "LIPSWAP_PAGE_PASSWORD_FILE": "",
        "PANEL_OAUTH_PROVIDER": "github",
        "PANEL_OAUTH_KEY": "a-client",
        "PANEL_OAUTH_SECRET_FILE": "/run/secrets/oauth_secret",
        "LIPSWAP_PAGE_USERS": "somebody",
    }
    show = (
        "import os; from ui_panel.settings import SignInSettings; "
        "print(SignInSettings().oauth_provider, os.environ['PANEL_OAUTH_SECRET'])"
    )

    done = _started("ui", show, tmp_path, **chosen)

    assert done.stdout.split() == ["github", "of-the-provider"], done.stderr
    # The others are told the same by .env, and have no such file.
    (tmp_path / "oauth_secret").unlink()
    for filled_in in (path for path in tmp_path.iterdir() if not path.read_text(encoding="utf-8").strip()):
        filled_in.write_text("of-the-account", encoding="utf-8")
    for service in ("deploy", "orchestrator", "api", "doctor"):
        done = _started(service, "print('started')", tmp_path, **chosen)
        assert done.stdout.split() == ["started"], done.stderr


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
        said, _ = process.communicate(timeout=120)

    assert said.split() == [str(process.pid), "rpa_1", "False"]


def test_our_processes_take_the_secrets_that_first_time_makes(tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("runpod_api_key", "r2_access_key_id", "r2_secret_access_key"):
        (tmp_path / name).write_text("from-others", encoding="utf-8")
    show = "from api_shim.settings import ShimSettings as S; print(S().runpod_webhook_url.get_secret_value())"

    done = _started("api", show, tmp_path)

    token = (tmp_path / "runpod_hook_token").read_text(encoding="utf-8")
    assert done.stdout.strip() == f"https://api.example.com/hooks/runpod/{token}", done.stderr


def _started(service: str, show: str, secrets: Path, **chosen: str) -> subprocess.CompletedProcess[str]:
    """Run Python as this service's container does, with these variables in .env."""
    said = {name: str(value) for name, value in ONE_HOST["services"][service]["environment"].items()}

    def interpolated(value: str) -> str:
        value = re.sub(r"\$\{(\w+)-([^}]*)\}", lambda found: chosen.get(found[1], found[2]), value)
        value = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: chosen.get(found[1]) or found[2], value)
        return re.sub(r"\$\{\w+:\?[^}]*\}", "example.com", value)

    # What the file itself says has the last word.
    environment = chosen | {name: interpolated(v) for name, v in said.items()}
    environment |= {"R2_ENDPOINT": "https://example.com"}
    return subprocess.run(
        [sys.executable, "-m", "deployments.images.start", sys.executable, "-c", show],
        env={name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
