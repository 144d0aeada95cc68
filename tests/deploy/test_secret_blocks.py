"""Secrets that stand in Secret blocks of a real Prefect server, as each process reads them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from api_shim.settings import ShimSettings
from blocks import registry
from blocks.runpod import RunPodEndpoint
from blocks.secret_blocks import SecretBlockError
from blocks.settings import OrchestratorSettings
from deployments.images.start import SECRETS
from tests.deploy.examined import examined
from tests.runs.orchestra import deploy

# Settings of each kind: Redis' address, the bucket's keys, which have a model of their own, and RunPod's.
MOVED = ("JOBSTORE_REDIS_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "RUNPOD_API_KEY", "FF_API_SECRET")


def block_of(variable: str) -> str:
    return f"mine-{variable.lower().replace('_', '-')}"


@pytest.fixture(scope="module")
async def prefect(production: dict[str, str]) -> AsyncIterator[PrefectClient]:
    login = production["PREFECT_API_AUTH_STRING"]
    async with PrefectClient(production["PREFECT_API_URL"], auth_string=login) as client:
        yield client


@pytest.fixture(scope="module")
async def moved(prefect: PrefectClient, production: dict[str, str]) -> dict[str, str]:
    """A production whose secrets are in blocks, and no longer in its variables."""
    for variable in MOVED:
        await Secret(value=production[variable]).asave(block_of(variable), overwrite=True, client=prefect)
    named = {f"{variable}_BLOCK": block_of(variable) for variable in MOVED}
    return {name: value for name, value in production.items() if name not in MOVED} | named


async def test_production_is_well_with_its_secrets_in_blocks(moved: dict[str, str], tmp_path: Path) -> None:
    found = examined(moved, tmp_path)

    assert {name for name, (state, _, _) in found.items() if state == "problem"} == set()
    assert found["bucket"][0] == found["redis"][0] == found["lip_sync"][0] == found["door"][0] == "ok"


async def test_a_changed_secret_is_taken_over_by_the_next_deploy(
    prefect: PrefectClient, moved: dict[str, str], production: dict[str, str]
) -> None:
    await Secret(value="changed").asave("changed-key", overwrite=True, client=prefect)
    try:
        deploy(moved, RUNPOD_API_KEY_BLOCK="changed-key")
        document = await prefect.read_block_document_by_name(
            registry.WAV2LIP, RunPodEndpoint.get_block_type_slug(), include_secrets=True
        )
    finally:
        deploy(production)

    assert document.data["api_key"] == "changed"


@pytest.fixture
async def odd(prefect: PrefectClient) -> None:
    """Blocks that hold no secret: nothing, and no text."""
    await Secret(value="").asave("empty", overwrite=True, client=prefect)
    await Secret(value={"key": "hidden"}).asave("json", overwrite=True, client=prefect)


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"RUNPOD_API_KEY_BLOCK": "elsewhere"}, "RUNPOD_API_KEY_BLOCK: Prefect has no Secret block named elsewhere"),
        ({"RUNPOD_API_KEY_BLOCK": "empty"}, "RUNPOD_API_KEY_BLOCK: the Secret block empty holds no text"),
        ({"RUNPOD_API_KEY_BLOCK": "json"}, "RUNPOD_API_KEY_BLOCK: the Secret block json holds no text"),
        ({"RUNPOD_API_KEY": "hidden"}, "Both RUNPOD_API_KEY and RUNPOD_API_KEY_BLOCK are set"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "It does not answer"),
        ({"PREFECT_API_AUTH_STRING": "operator:another"}, "set PREFECT_API_AUTH_STRING to the server's own"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value[:50],
)
async def test_a_block_that_cannot_be_used_is_named_and_its_value_is_not(
    moved: dict[str, str], monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], sentence: str
) -> None:
    environment = moved | changes
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url, login = environment["PREFECT_API_URL"], environment["PREFECT_API_AUTH_STRING"]
    connected = temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: login})
    with connected, pytest.raises(SecretBlockError) as caught:
        OrchestratorSettings()

    assert sentence in str(caught.value)
    assert "hidden" not in str(caught.value)


async def test_doctor_names_a_block_that_is_missing_and_what_to_do(moved: dict[str, str], tmp_path: Path) -> None:
    state, told, fix = examined(moved, tmp_path, R2_SECRET_ACCESS_KEY_BLOCK="elsewhere")["variables"]

    assert state == "problem"
    assert "R2_SECRET_ACCESS_KEY_BLOCK: Prefect has no Secret block named elsewhere" in told
    assert "NAME_BLOCK" in fix


async def test_doctor_does_not_miss_what_a_block_holds_when_another_variable_is_wrong(
    moved: dict[str, str], tmp_path: Path
) -> None:
    state, told, _ = examined(moved, tmp_path, R2_PRESIGN_EXPIRY="0", R2_BUCKET="")["variables"]

    assert state == "problem"
    assert "R2_PRESIGN_EXPIRY: Input should be greater" in told
    assert "R2_BUCKET: Field required" in told
    assert "_ACCESS_KEY" not in told


def test_a_block_without_an_address_of_prefect_starts_no_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY_BLOCK", "mine")
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(SecretBlockError, match="PREFECT_API_URL"),
    ):
        OrchestratorSettings()


@pytest.mark.parametrize("kind", [OrchestratorSettings, ShimSettings])
def test_a_missing_variable_does_not_tell_the_others(
    monkeypatch: pytest.MonkeyPatch, kind: type[OrchestratorSettings]
) -> None:
    given = {"R2_ENDPOINT": "https://a", "R2_BUCKET": "b", "R2_ACCESS_KEY_ID": "c", "R2_SECRET_ACCESS_KEY": "d"}
    for name, value in (given | {"RUNPOD_API_KEY": "hidden"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("JOBSTORE_REDIS_URL", raising=False)

    with pytest.raises(ValidationError, match="JOBSTORE_REDIS_URL") as caught:
        kind()

    assert "hidden" not in str(caught.value)


def test_every_secret_of_our_processes_may_come_from_a_file() -> None:
    secret = {field.validation_alias for field in ShimSettings.model_fields.values() if "SecretStr" in str(field)}

    assert len(secret) > 5
    assert secret <= set(SECRETS)
