"""The control plane's contract suite against a real account, and what differs there, as data.

The suite lies beside this distribution's source, not in it: conformance is told from a checkout.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import httpx
from pydantic import BaseModel, ConfigDict

from deployments.fleet.errors import DeployError

SUITE: Final = Path(__file__).parents[1] / "tests" / "runpod" / "test_contract.py"
# Workers of the suite that have to run as endpoints, by the names that its tests use.
ENDPOINTS: Final = ("cooperative", "blocking", "streaming")
_SUITE_SECONDS: Final = 3600.0
_LOOK_SECONDS: Final = 20.0
_LONGEST_DETAIL: Final = 160
_KEY_REFUSED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


class Verdict(BaseModel):
    """How one line of the contract came out; `detail` says what the service did instead, or why it was not asked."""

    model_config = ConfigDict(frozen=True)

    line: str
    outcome: str
    detail: str = ""


class ConformanceError(DeployError):
    """The suite could not be run."""


def run_suite(url: str, key: str, endpoints: Mapping[str, str], folder: Path) -> tuple[Verdict, ...]:
    """Run the suite and return a verdict for each of its tests.

    Args:
        url: Such as https://api.runpod.ai, without /v2.
        key: The account's.
        endpoints: Ids by the names in `ENDPOINTS`.
        folder: For the suite's report.

    Raises:
        ConformanceError: There is no suite here, an endpoint is not named or not there, the key is refused, or pytest
            could not begin.
    """
    if not SUITE.is_file():
        raise ConformanceError(f"{SUITE} is not there; run `lipswap conformance` from a checkout of the source.")
    if missing := [name for name in ENDPOINTS if name not in endpoints]:
        raise ConformanceError(f"Name the endpoint that runs workers/{missing[0]}.py: --endpoint {missing[0]}=ID")
    for name in ENDPOINTS:
        _look_at(url, key, name, endpoints[name])
    report = folder / "conformance.xml"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(SUITE)],
        cwd=SUITE.parents[2],
        env={**_plain_environment(), "RUNPOD_CONTRACT_URL": url, "RUNPOD_CONTRACT_KEY": key}
        | {"RUNPOD_CONTRACT_ENDPOINTS": json.dumps(dict(endpoints))},
        capture_output=True,
        text=True,
        timeout=_SUITE_SECONDS,
        check=False,
    )
    if not report.exists():
        raise ConformanceError(f"The suite could not begin: {done.stdout.strip()[-_LONGEST_DETAIL:]}")
    return tuple(_verdicts(report))


def _look_at(url: str, key: str, name: str, endpoint: str) -> None:
    """Ask an endpoint for its health: behind a refused key every line would differ, and say nothing."""
    try:
        answer = httpx.get(
            f"{url}/v2/{endpoint}/health", headers={"Authorization": f"Bearer {key}"}, timeout=_LOOK_SECONDS
        )
    except httpx.HTTPError as error:
        raise ConformanceError(f"{url} does not answer ({type(error).__name__}); correct RUNPOD_API_BASE.") from error
    if answer.status_code in _KEY_REFUSED:
        raise ConformanceError(f"{url} refuses the key; correct RUNPOD_API_KEY.")
    if not answer.is_success:
        raise ConformanceError(
            f"{url} answers {answer.status_code} for endpoint {endpoint}; correct --endpoint {name}=ID."
        )


def _verdicts(report: Path) -> Iterator[Verdict]:
    # Our own pytest has written it a moment ago.
    for case in ET.parse(report).iter("testcase"):  # noqa: S314
        line = str(case.get("name", "")).removeprefix("test_").replace("_", " ").replace("[", " [")
        problem = next((case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None), None)
        if problem is not None:
            yield Verdict(line=line, outcome="differs", detail=_first_line(problem))
        elif (left_out := case.find("skipped")) is not None:
            yield Verdict(line=line, outcome="not asked", detail=_first_line(left_out))
        else:
            yield Verdict(line=line, outcome="same")


def _first_line(problem: ET.Element) -> str:
    said = problem.get("message") or problem.text or ""
    return next((line.strip() for line in said.splitlines() if line.strip()), "")[:_LONGEST_DETAIL]


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_CONTRACT_")}
