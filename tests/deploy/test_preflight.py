"""Images are asked for before the first change: a tag that is not there stops everything by a sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.fleet.resources import Kind
from tests.deploy.account import RunningAccount, declared
from tests.deploy.commands import lipswap
from tests.deploy.registry import registry

TAG = "20261125-1"
APPLY = ("deploy", "apply", "--image-check")


@pytest.fixture(scope="module")
def images() -> Iterator[str]:
    names = ("wav2lip-serverless", "facefusion-serverless")
    with registry(*(f"lipswap/{name}:{TAG}" for name in names)) as host:
        yield host


def test_images_that_are_there_are_let_through(account: RunningAccount, tmp_path: Path, images: str) -> None:
    file = declared(tmp_path / "fleet.yaml", registry=f"{images}/lipswap", tag=TAG)

    assert lipswap(*APPLY, "--file", file, account=account).returncode == 0
    assert len(account.names(Kind.ENDPOINT)) == 2


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("lipswap", "20261125-2"), "does not exist; push it, or correct tag in the declaration"),
        (("private", TAG), "does not exist or is private; for a private one set registry_auth_id"),
        (("broken", TAG), "answered with status 500"),
    ],
)
def test_an_image_that_cannot_be_had_is_named_before_anything_is_made(
    account: RunningAccount, tmp_path: Path, images: str, asked: tuple[str, str], sentence: str
) -> None:
    account.misbehave()
    folder, tag = asked
    file = declared(tmp_path / "fleet.yaml", registry=f"{images}/{folder}", tag=tag)

    refused = lipswap(*APPLY, "--file", file, account=account)

    assert refused.returncode == 1
    assert f"{folder}/facefusion-serverless:{tag}" in refused.stdout
    assert sentence in refused.stdout
    assert account.writes() == 0


def test_a_registry_that_is_away_is_told_as_such(account: RunningAccount, tmp_path: Path) -> None:
    file = declared(tmp_path / "fleet.yaml", registry="localhost:1/lipswap", tag=TAG)

    refused = lipswap(*APPLY, "--file", file, account=account)

    assert refused.returncode == 1
    assert "The registry localhost:1 does not answer" in refused.stdout
