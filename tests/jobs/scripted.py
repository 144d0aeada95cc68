"""Jobs that end as their script says, and what they left in the bucket and on the plane."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx

from blocks.bounds import BudgetBounds
from blocks.job_store import JobStore
from blocks.runpod import RunPodEndpoint
from blocks.runpod_client import JobStatus
from flows.accounts import JobAccount
from flows.budget import Budget
from flows.following import JobNews
from flows.ledger import read_account
from flows.order import Order
from flows.remote import JobDone, RemoteJob
from gpu_tasks.contract.artifacts import Artifact
from gpu_tasks.contract.jobs import Engine, FaceFusionJob, Stage, Timeline, Wav2LipJob, keys_of
from gpu_tasks.contract.receipts import Claim
from gpu_tasks.storage import ArtifactStore
from tests.runpod.plane import API_KEY, RunningPlane
from tests.waiting import await_until

# The program of a worker that goes by them.
SCRIPTED = Path(__file__).parent / "workers" / "scripted.py"


def scripted_job(script: str) -> Wav2LipJob:
    """A lip-sync that no other test has; see workers/scripted.py."""
    nothing = Artifact(key="work/ingest/none", sha256="0" * 64, size_bytes=1, media_type="video/mp4")
    return Wav2LipJob(
        engine=Engine.DRAFT,
        model_revisions={"script": script, "test": str(uuid4())},
        target=nothing,
        driving_audio=nothing,
        timeline=Timeline(fps=25, frame_count=1, target_frame_count=1),
    )


@dataclass
class Jobs:
    """Runs jobs on an endpoint as the flow does."""

    endpoint: RunPodEndpoint
    store: ArtifactStore
    job_store: JobStore
    bounds: BudgetBounds = field(default_factory=BudgetBounds)
    order: Order = field(default_factory=Order)
    news: list[JobNews] = field(default_factory=list)
    charged: list[JobAccount] = field(default_factory=list)

    def remote(self, job: Wav2LipJob | FaceFusionJob, *, task_id: str = "a-run", max_attempts: int = 3) -> RemoteJob:
        return RemoteJob(
            job,
            endpoint=self.endpoint,
            store=self.store,
            jobs=self.job_store,
            budget=Budget(self.bounds, self.job_store, self.store, task_id),
            max_attempts=max_attempts,
            report=self._hear,
            charge=self._charge,
            order=self.order,
        )

    async def run(self, job: Wav2LipJob | FaceFusionJob, *, task_id: str = "a-run", max_attempts: int = 3) -> JobDone:
        return await self.remote(job, task_id=task_id, max_attempts=max_attempts).run()

    def claims(self, job: Wav2LipJob | FaceFusionJob) -> list[Claim]:
        """All claims of a job, first attempt first."""
        keys = sorted(self.store.keys(f"{keys_of(job).folder}/claim-"))
        found = [self.store.read_json(key, Claim) for key in keys]
        return [claim for claim in found if claim is not None]

    def causes(self, job: Wav2LipJob | FaceFusionJob) -> list[str]:
        return [claim.cause for claim in self.claims(job)]

    def account(self, job: Wav2LipJob | FaceFusionJob) -> JobAccount:
        return read_account(self.store, keys_of(job))

    async def status(self, claim: Claim) -> JobStatus | None:
        """How the claim's job stands on the plane."""
        view = await self.endpoint.client().status(claim.endpoint_id, claim.job_id or "")
        return view.status if view else None

    async def _hear(self, news: JobNews) -> None:
        self.news.append(news)

    async def _charge(self, account: JobAccount) -> None:
        self.charged.append(account)


def dead_claim(job: Wav2LipJob, *, job_id: str | None, **terms: float) -> Claim:
    """What a run that died two minutes ago has left."""
    return Claim(
        fingerprint=keys_of(job).fingerprint,
        stage=Stage.WAV2LIP,
        attempt=1,
        task_id="a-dead-run",
        cause="first",
        claimed_at=datetime.now(UTC) - timedelta(minutes=2),
        endpoint_id="scripted",
        job_id=job_id,
        **terms,
    )


async def until_working(jobs: Jobs, job: Wav2LipJob) -> Claim:
    """Return the claim of a job that a worker has begun."""

    async def working() -> Claim | None:
        claims = await asyncio.to_thread(jobs.claims, job)
        if not claims or claims[-1].job_id is None:
            return None
        return claims[-1] if await jobs.status(claims[-1]) is JobStatus.IN_PROGRESS else None

    return await await_until(working, what="a worker has begun the job")


async def set_faults(plane: RunningPlane, **faults: object) -> None:
    """Replace the faults of the scripted endpoint; none without arguments."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {API_KEY}"}, timeout=60) as http:
        answer = await http.post(f"{plane.base_url}/local/faults/scripted", json=faults)
        answer.raise_for_status()
