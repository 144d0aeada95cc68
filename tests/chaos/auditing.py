"""What the bucket, Prefect and Redis hold when all is over, and whether each paid execution has a cause."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from redis.asyncio import Redis

from gpu_tasks.contract.artifacts import WORK
from gpu_tasks.contract.jobs import Stage
from gpu_tasks.contract.receipts import Claim, StartMarker
from gpu_tasks.storage import ArtifactStore

Entry = TypeVar("Entry", Claim, StartMarker)

_PAGE = 200
# RunPod starts a job again when the worker dies that had it: the marker names the job and its worker.
_WORKER_DIED = "worker_died"


class Spending(NamedTuple):
    """GPU executions of all jobs.

    Attributes:
        executions: How many there were.
        jobs: How many fingerprints.
        extra: Those beyond the first of a fingerprint, by cause.
        unnamed: Keys of those whose cause nobody wrote down.
    """

    executions: int
    jobs: int
    extra: Counter[str]
    unnamed: tuple[str, ...]


def spending_of(store: ArtifactStore) -> Spending:
    """Read claims and start markers of every job. Blocks: call it in a thread."""
    executions, jobs, extra, unnamed = 0, 0, Counter[str](), list[str]()
    for stage in (Stage.WAV2LIP, Stage.FACEFUSION):
        for keys in _jobs(store, f"{WORK}{stage}/"):
            claims = {claim.attempt: claim for claim in _read(store, keys, "claim-", Claim)}
            markers = _read(store, keys, "started-", StartMarker)
            jobs += 1
            executions += len(markers)
            for marker in sorted(markers, key=lambda marker: (marker.attempt, marker.execution))[1:]:
                cause = _cause(marker, claims)
                if cause:
                    extra[cause] += 1
                else:
                    unnamed.append(f"{marker.stage}/{marker.fingerprint}/{marker.attempt}-{marker.execution}")
    return Spending(executions, jobs, extra, tuple(unnamed))


def _cause(marker: StartMarker, claims: dict[int, Claim]) -> str:
    claim = claims.get(marker.attempt)
    if claim is None:
        return ""
    # The same job again on another worker, or another attempt.
    return _WORKER_DIED if marker.execution > 1 else claim.cause


def _jobs(store: ArtifactStore, prefix: str) -> Iterator[list[str]]:
    folders: dict[str, list[str]] = {}
    for key in store.keys(prefix):
        folders.setdefault(key.rpartition("/")[0], []).append(key)
    yield from folders.values()


def _read(store: ArtifactStore, keys: list[str], kind: str, model: type[Entry]) -> list[Entry]:
    named = [key for key in keys if key.rpartition("/")[2].startswith(kind)]
    return [entry for key in named if (entry := store.read_json(key, model)) is not None]


async def runs_of(prefect: PrefectClient) -> list[FlowRun]:
    """Return every run that Prefect knows."""
    found: list[FlowRun] = []
    while page := await prefect.read_flow_runs(limit=_PAGE, offset=len(found)):
        found += page
    return found


async def leaked_leases(redis_url: str, prefix: str) -> list[str]:
    """Return the leases of runs that are still there; a worker's own sign of life is none."""
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        return [key async for key in redis.scan_iter(f"{prefix}:lease:*") if ":lease:worker:" not in key]
