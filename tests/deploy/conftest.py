"""One RunPod account for each test; and a whole production, for the tests that look at one or run in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from deployments.bucket.policy import BucketPolicy
from deployments.bucket.preparing import Bucket
from deployments.local.services import ServiceName
from tests.deploy.account import RunningAccount, running_account
from tests.deploy.examined import PAGE, examined
from tests.provenance.parties import Party
from tests.runpod.plane import API_KEY, RunningPlane, endpoint, plane_config, running_plane
from tests.runs.orchestra import deploy, quick_deployments, worker_process
from tests.servers import RunningStack, running_stack, variables_of
from tests.waiting import wait_until


@pytest.fixture(scope="package")
def account_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that shows one account in both versions of RunPod's REST API."""
    with running_account(tmp_path_factory.mktemp("account")) as url:
        yield url


@pytest.fixture(params=["v1", "v2"])
def account(request: pytest.FixtureRequest, account_server: str) -> RunningAccount:
    """An account in which nothing is yet, as either version shows it."""
    fresh = RunningAccount(account_server, request.param)
    fresh.forget()
    return fresh


@pytest.fixture(scope="package")
def stack() -> Iterator[RunningStack]:
    parts = (ServiceName.PREFECT_SERVER, ServiceName.VALKEY, ServiceName.OBJECT_STORE)
    with running_stack(*parts, protect_prefect=True) as running:
        yield running


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlane]:
    endpoints = (endpoint("lips", "cooperative"), endpoint("faces", "cooperative"), endpoint("broken", "crashing"))
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints)) as running:
        yield running


@pytest.fixture(scope="package")
def production(
    stack: RunningStack, plane: RunningPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The variables of a production that is as it should be: prepared bucket, deployed flows, a worker, a chain."""
    at, folder = stack.addresses, tmp_path_factory.mktemp("production")
    environment = variables_of(at) | {
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "RUNPOD_API_KEY": API_KEY,
        "RUNPOD_API_BASE": f"{plane.base_url}/v2",
        "RUNPOD_WAV2LIP_ENDPOINT": "lips",
        "RUNPOD_FACEFUSION_ENDPOINT": "faces",
        "FF_API_SECRET": "a-secret-of-the-tests",
        "PREFECT_SERVER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "LIPSWAP_SCHEDULES": "true",
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        **_chain(folder),
    }
    policy = BucketPolicy(origins=(PAGE,))
    Bucket(at.r2).prepare(policy)
    with quick_deployments(environment), worker_process(environment, folder, "flows.worker"):
        deploy(environment)
        wait_until(
            lambda: examined(environment, folder)["orchestrator"][0] == "ok", seconds=180, what="a worker is seen"
        )
        yield environment


def _chain(folder: Path) -> dict[str, str]:
    """A chain as an operator buys one; how it was made does not matter here."""
    us = Party.at(folder / "signing")
    signer = us.settings.development / "signer.pem"
    return {
        "LIPSWAP_C2PA_CHAIN": str(signer),
        "LIPSWAP_C2PA_KEY": str(signer),
        "LIPSWAP_C2PA_TRUST_ANCHORS": str(us.settings.development / "authority.pem"),
    }
