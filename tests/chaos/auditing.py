"""What the bucket, Prefect and Redis hold when all is over, and whether each paid execution has a cause."""

from collections import Counter
from typing import NamedTuple

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from redis.asyncio import Redis

from flows.accounts import UNCLAIMED
from flows.ledger import Cause, read_accounts
from gpu_tasks.storage import ArtifactStore

_PAGE = 200
# What stands in an account where nobody has written down why.
_NO_CAUSE = frozenset({"", Cause.FIRST.value, UNCLAIMED})


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
    """Read the account of every job, as `lipswap ledger` does. Blocks: call it in a thread."""
    executions, jobs, extra, unnamed = 0, 0, Counter[str](), list[str]()
    for account in read_accounts(store):
        jobs += 1
        executions += len(account.worked)
        for entry in account.repeats:
            if entry.cause in _NO_CAUSE:
                unnamed.append(f"{entry.stage}/{entry.fingerprint}/{entry.attempt}-{entry.execution} ({entry.cause})")
            else:
                extra[entry.cause] += 1
    return Spending(executions, jobs, extra, tuple(unnamed))


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
