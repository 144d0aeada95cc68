"""`lipswap conformance`: what it asks for, and the whole suite against services in the place of the real one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy.commands import lipswap, lipswap_process
from tests.deploy.deviating import DEVIATIONS, deviating
from tests.runpod.plane import API_KEY, RunningPlane, endpoint, plane_config, running_plane

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


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    endpoints = (
        endpoint("cooperative", "cooperative", concurrency=4),
        endpoint("blocking", "blocking"),
        endpoint("streaming", "streaming"),
    )
    with running_plane(plane_config(tmp_path_factory.mktemp("served"), *endpoints)) as running:
        yield running


def variables(url: str) -> dict[str, str]:
    return {"RUNPOD_API_BASE": f"{url}/v2", "RUNPOD_API_KEY": API_KEY}


def verdicts_of(told: str) -> list[dict[str, Any]]:
    verdicts: list[dict[str, Any]] = json.loads(next(line for line in told.splitlines() if line.startswith("[")))
    return verdicts


@pytest.mark.conformance
@pytest.mark.timeout(600)
def test_the_local_control_plane_differs_from_itself_in_nothing(served: RunningPlane) -> None:
    told = lipswap_process("conformance", *NAMED, "--json", environment=variables(served.base_url))

    verdicts = verdicts_of(told.stdout)
    print(f"{len(verdicts)} lines, {sum(one['outcome'] == 'not asked' for one in verdicts)} not asked")  # noqa: T201  # recorded
    assert [one for one in verdicts if one["outcome"] == "differs"] == []
    assert sum(one["outcome"] == "same" for one in verdicts) > 25
    assert told.returncode == 0


@pytest.mark.conformance
@pytest.mark.timeout(600)
def test_a_service_that_behaves_otherwise_is_told_from_it_line_by_line(served: RunningPlane) -> None:
    with deviating(served.base_url, API_KEY) as url:
        told = lipswap_process("conformance", *NAMED, "--json", environment=variables(url))

    differing = {one["line"]: one["detail"] for one in verdicts_of(told.stdout) if one["outcome"] == "differs"}
    print(*differing.items(), sep="\n")  # noqa: T201  # recorded
    assert set(differing) == DEVIATIONS
    assert all(differing.values())
    assert told.returncode == 1


@pytest.mark.conformance
@pytest.mark.timeout(600)
def test_a_key_that_is_refused_is_said_before_the_suite_is_run(served: RunningPlane) -> None:
    refused = variables(served.base_url) | {"RUNPOD_API_KEY": "another"}
    told = lipswap_process("conformance", *NAMED, environment=refused)

    assert told.returncode == 1
    assert "RUNPOD_API_KEY" in told.stdout
