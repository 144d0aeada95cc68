"""Old and new releases side by side: a worker of another one refuses by name, and the job goes on.

`releases/contract-2.tar.xz` is `gpu_tasks` as it was (550c954) before CONTRACT_VERSION became 3, but for the files of
its models, which are today's.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter
from pydantic_core import to_json

from blocks.job_store import JobStore
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobPolicy, JobStatus, JobView
from deployments.local.control_plane.settings import EndpointConfig
from flows.errors import JobError
from gpu_tasks.contract.faults import FaultCode
from gpu_tasks.contract.jobs import CONTRACT_VERSION
from gpu_tasks.storage import ArtifactStore
from tests.jobs.scripted import SCRIPTED, Jobs, scripted_job
from tests.runpod.plane import API_KEY, RunningPlane, plane_config, running_plane
from tests.waiting import await_until

OLD = Path(__file__).parent / "releases" / "contract-2.tar.xz"
MODELS = Path(__file__).parents[2] / "gpu_tasks" / "draft" / "models"
RELEASED = Path(__file__).parent / "workers" / "released.py"
# The real release before, and ours under the number of the one after.
OTHER_RELEASES = ("contract-2", "newer")

# What a flow of contract 2 sends, and what it makes of an answer: its own code, in a process of its own.
SENDS = """
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, Stage, Timeline, Wav2LipJob
from gpu_tasks.contract.manifest import manifest
footage = Artifact(key="work/ingest/none", sha256="0" * 64, size_bytes=1, media_type="video/mp4")
timeline = Timeline(fps=25, frame_count=1, target_frame_count=1)
revisions = manifest().revisions(Engine.DRAFT, Stage.WAV2LIP)
print(Wav2LipJob(
    engine=Engine.DRAFT, model_revisions=revisions, target=footage, driving_audio=footage, timeline=timeline,
).model_dump_json())
"""
READS = """
import sys
from gpu_tasks.contract.receipts import JobReply
fault = JobReply.model_validate_json(sys.stdin.read()).fault
print(fault.code, fault.detail, sep=": ")
"""


@dataclass(frozen=True)
class OldRelease:
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """With these a Python finds its packages before ours."""
        return {"PYTHONPATH": str(self.folder), "PYTHONSAFEPATH": "1"}

    def python(self, code: str, given: str = "") -> str:
        done = subprocess.run(
            (sys.executable, "-c", code),
            input=given,
            env={"PATH": os.environ["PATH"]} | self.variables,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout.strip()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldRelease:
    folder = tmp_path_factory.mktemp("contract-2")
    with tarfile.open(OLD) as packed:
        packed.extractall(folder, filter="data")
    shutil.copytree(MODELS, folder / "gpu_tasks" / "draft" / "models", dirs_exist_ok=True)
    return OldRelease(folder)


@pytest.fixture(scope="module")
def release_plane(
    bucket: dict[str, str], old: OldRelease, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlane]:
    scratch = {"LIPSWAP_SCRATCH_ROOT": str(tmp_path_factory.mktemp("scratch"))}
    workers: list[tuple[str, tuple[str, ...], dict[str, str]]] = [
        ("ours", (str(SCRIPTED),), {}),
        ("newer", (str(RELEASED),), {"RELEASE_STEP": "1"}),
        ("today", ("-m", "gpu_tasks.wav2lip.worker"), {}),
        ("contract-2", ("-m", "gpu_tasks.wav2lip.worker"), old.variables),
    ]
    endpoints = [
        EndpointConfig(
            id=name,
            command=(sys.executable, *program),
            env=bucket | scratch | variables,
            min_workers=1,
            max_workers=1,
            idle_seconds=600,
        )
        for name, program, variables in workers
    ]
    with running_plane(plane_config(tmp_path_factory.mktemp("plane"), *endpoints)) as plane:
        yield plane


@pytest.fixture
def jobs(release_plane: RunningPlane, store: ArtifactStore, job_store: JobStore) -> Jobs:
    endpoint = RunPodEndpoint(
        api_base=f"{release_plane.base_url}/v2",
        api_key=SecretStr(API_KEY),
        endpoint_id="ours",
        poll_interval_seconds=0.3,
        job_timeout_seconds=120,
        queue_timeout_seconds=100,
    )
    return Jobs(endpoint, store, job_store)


@pytest.mark.parametrize("release", OTHER_RELEASES)
async def test_a_canary_of_another_release_refuses_and_the_job_goes_to_ours(jobs: Jobs, release: str) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"canary_endpoint_id": release, "canary_percent": 100})
    job = scripted_job("good")

    done = await jobs.run(job)

    assert jobs.causes(job) == ["first", "contract_mismatch"]
    assert [claim.endpoint_id for claim in jobs.claims(job)] == [release, "ours"]
    assert done.receipt.attempt == 2


@pytest.mark.parametrize(("release", "speaks"), [("contract-2", 2), ("newer", CONTRACT_VERSION + 1)])
async def test_without_another_endpoint_the_fault_names_the_mismatch(jobs: Jobs, release: str, speaks: int) -> None:
    jobs.endpoint = jobs.endpoint.model_copy(update={"endpoint_id": release})
    job = scripted_job("good")

    with pytest.raises(JobError) as caught:
        await jobs.run(job, max_attempts=2)

    assert caught.value.fault.code is FaultCode.CONTRACT_MISMATCH
    assert f"This worker speaks version {speaks}." in caught.value.fault.detail
    assert jobs.causes(job) == ["first", "contract_mismatch"]
    assert all(execution.gpu_seconds == 0 for execution in jobs.account(job).executions if execution.execution == 0)


async def test_todays_worker_refuses_a_job_of_contract_2_in_words_that_its_flow_knows(
    jobs: Jobs, old: OldRelease
) -> None:
    job = TypeAdapter(dict[str, Any]).validate_json(await asyncio.to_thread(old.python, SENDS))
    assert job["contract_version"] == 2
    client = jobs.endpoint.client()

    policy = JobPolicy(execution_seconds=60, life_seconds=120)
    job_id = await client.submit("today", {"job": job}, policy=policy)

    async def ended() -> JobView | None:
        view = await client.status("today", job_id)
        return view if view and view.status.is_final else None

    answer: JobView = await await_until(ended, what="today's worker has answered")
    assert answer.status is JobStatus.COMPLETED
    understood = await asyncio.to_thread(old.python, READS, to_json(answer.output).decode())
    assert understood.startswith("contract_mismatch: ")
    assert f"This worker speaks version {CONTRACT_VERSION}." in understood


async def test_in_a_rolling_release_the_next_worker_takes_what_the_last_refused(jobs: Jobs) -> None:
    job = scripted_job("fault:contract_mismatch,fault:revision_mismatch,good")

    done = await jobs.run(job)

    assert jobs.causes(job) == ["first", "contract_mismatch", "revision_mismatch"]
    assert done.receipt.attempt == 3


@pytest.mark.parametrize(("percent", "drawn"), [(0, 0), (10, 10), (100, 100)])
def test_a_canary_gets_its_part_and_a_job_always_goes_the_same_way(percent: int, drawn: int) -> None:
    endpoint = RunPodEndpoint(endpoint_id="ours", canary_endpoint_id="canary", canary_percent=percent)
    fingerprints = [f"{number:016x}{'0' * 48}" for number in range(100)]

    ways = [endpoint.endpoints_for(fingerprint) for fingerprint in fingerprints]

    assert sum(way == ("canary", "ours") for way in ways) == drawn
    assert ways == [endpoint.endpoints_for(fingerprint) for fingerprint in fingerprints]
