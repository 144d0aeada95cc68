"""`lipswap conformance`: what it asks for, and the whole suite against a plane in the place of the real service."""

import json
from pathlib import Path

import pytest

from tests.deploy.commands import lipswap, lipswap_process
from tests.runpod.plane import API_KEY, endpoint, plane_config, running_plane

NAMED = (
    "--endpoint",
    "cooperative=cooperative",
    "--endpoint",
    "blocking=blocking",
    "--endpoint",
    "streaming=streaming",
)


def test_an_endpoint_that_is_not_named_is_asked_for() -> None:
    told = lipswap("conformance", "--endpoint", "cooperative=a", RUNPOD_API_KEY="a-key")

    assert told.returncode == 1
    assert "--endpoint blocking=ID" in told.stdout


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_the_plane_conforms_to_itself_and_a_wrong_key_differs_in_every_line(tmp_path: Path) -> None:
    endpoints = (
        endpoint("cooperative", "cooperative", concurrency=4),
        endpoint("blocking", "blocking"),
        endpoint("streaming", "streaming"),
    )
    with running_plane(plane_config(tmp_path, *endpoints)) as plane:
        variables = {"RUNPOD_API_BASE": f"{plane.base_url}/v2", "RUNPOD_API_KEY": API_KEY}
        same = lipswap_process("conformance", *NAMED, "--json", environment=variables)
        other = lipswap_process("conformance", *NAMED, environment=variables | {"RUNPOD_API_KEY": "another-key"})

    verdicts = json.loads(next(line for line in same.stdout.splitlines() if line.startswith("[")))
    assert {verdict["outcome"] for verdict in verdicts} == {"same", "not asked"}
    assert same.returncode == 0
    assert other.returncode == 1
    assert "differs" in other.stdout
