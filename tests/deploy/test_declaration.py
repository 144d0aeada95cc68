"""What a declaration may not say, and that one file feeds the cloud and the laptop."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.deploy import FLOWS, QUICK, SCHEDULES
from deployments.fleet.declaration import DEFAULT_FILE, read_declaration
from deployments.fleet.errors import DeclarationError, PreflightError
from deployments.fleet.gpus import GPU_TYPES, PRICED_AS
from deployments.fleet.images import ImageName, parts_of
from deployments.fleet.planning import plan
from deployments.fleet.resources import Found, Kind
from deployments.fleet.wanted import wanted
from deployments.local.control_plane.settings import Scaler
from flows.pools import INPROCESS_POOL, QUICK_QUEUE
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.prices import price_table
from tests.deploy.account import ENVIRONMENT, declared
from tests.deploy.dockerfiles import ROOT


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"endpoints__wav2lip__gpu_types": ["NVIDIA RTX A400"]},
            r"wav2lip\.gpu_types\.0: .* did you mean 'NVIDIA RTX A",
        ),
        ({"tag": "latest"}, "tag: "),
        ({"endpoints__wav2lip__workers": {"min": 3, "max": 2}}, "min is above max"),
        ({"endpoints__wav2lip__volume": "models"}, "uses the volume models, which is not declared"),
        ({"endpoints__wav2lip__env": {"R2_ACCESS_KEY_ID": "x"}}, "R2_ACCESS_KEY_ID is given twice"),
        ({"endpoints__wav2lip__idle": 5}, r"wav2lip\.idle: Extra inputs"),
        ({"endpoints__facefusion__stage": "wav2lip"}, "the same stage"),
        ({"bucket__origins": ["page.example.com"]}, "is no origin"),
        ({"worker_quota": None}, "worker_quota: Field required"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DeclarationError, match=sentence):
        read_declaration(declared(tmp_path / "fleet.yaml", **changes))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a: [", "no YAML"), ("prefix: a\nprefix: b", "'prefix' stands twice"), ("- a", "the file: ")],
)
def test_what_is_no_declaration_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "fleet.yaml").write_text(text, encoding="utf-8")

    with pytest.raises(DeclarationError, match=sentence):
        read_declaration(tmp_path / "fleet.yaml")
    with pytest.raises(DeclarationError, match="cannot be read"):
        read_declaration(tmp_path / "absent.yaml")


def test_the_shipped_file_is_right_and_has_no_secret_in_it() -> None:
    declaration = read_declaration()

    for endpoint in declaration.endpoints.values():
        assert endpoint.scaler.type is Scaler.REQUEST_COUNT
        assert set(endpoint.secrets) == {"R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"}
    assert sum(endpoint.workers.max for endpoint in declaration.endpoints.values()) <= declaration.worker_quota


def test_workers_get_the_names_of_secrets_and_never_their_values() -> None:
    resources = wanted(read_declaration(), ENVIRONMENT | {"R2_SECRET_ACCESS_KEY": "the-value"})

    assert "the-value" not in repr(resources)
    assert "{{ RUNPOD_SECRET_lipswap_worker_r2_secret }}" in repr(resources)


def test_the_laptop_has_the_scaler_of_the_file() -> None:
    declaration = read_declaration()

    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        said = declaration.of(stage)
        # A stack is up when a worker of each stage is.
        assert said.local.workers.min >= 1
    assert DEFAULT_FILE.is_file()


def test_two_resources_of_one_name_are_told_and_not_guessed_about() -> None:
    resources = wanted(read_declaration(), ENVIRONMENT)
    template = next(one for one in resources if one.name == "lipswap-wav2lip")
    twice = [Found(id="a", resource=template), Found(id="b", resource=template)]

    with pytest.raises(PreflightError, match="Two templates are named lipswap-wav2lip"):
        plan(resources, twice, "lipswap")
    assert {found.kind for found in twice} == {Kind.TEMPLATE}


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("docker.io/lipswap/api:1", ImageName("docker.io", "lipswap/api", "1")),
        ("lipswap/api:1", ImageName("docker.io", "lipswap/api", "1")),
        ("ghcr.io/a/b/c:1", ImageName("ghcr.io", "a/b/c", "1")),
        ("localhost:5000/api:1", ImageName("localhost:5000", "api", "1")),
    ],
)
def test_an_image_is_asked_of_its_own_registry(image: str, parts: ImageName) -> None:
    assert parts_of(image) == parts


def test_gpu_types_that_have_a_price_are_known() -> None:
    assert set(PRICED_AS) <= GPU_TYPES
    assert all(price_table().price_of(name) > 0 for name in PRICED_AS.values())


def test_prefect_yaml_and_the_code_deploy_the_same() -> None:
    said = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    told = {one["entrypoint"]: one for one in said}

    assert set(told) == {entrypoint for _, entrypoint in FLOWS.values()}
    for name, (flow, entrypoint) in FLOWS.items():
        one = told[entrypoint]
        assert f"{flow.name}/{one['name']}" == name
        queue = {"work_queue_name": QUICK_QUEUE} if name in QUICK else {}
        assert (one["work_pool"], one["tags"]) == ({"name": INPROCESS_POOL} | queue, ["lipswap"])
        crons = {schedule["slug"]: schedule["cron"] for schedule in one.get("schedules", [])}
        assert crons == ({name: SCHEDULES[name]} if name in SCHEDULES else {})
