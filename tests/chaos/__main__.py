"""`make chaos [SEED=7] [JOBS=100] [KILLS=40]`: jobs are computed in peace, then again while everything is killed.

Its last line says in one sentence how it went; the exit code is 1 unless all is as it should be.
"""

import argparse
import asyncio
import math
import random
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from pydantic import BaseModel, ConfigDict

from blocks.job_store import JobStore
from blocks.patience import patiently
from deployments.local.services import ServiceName
from deployments.local.stack import Stack, StackSettings
from flows.patient_clients import share_tls_context, wait_for_server
from gpu_tasks.contract.artifacts import OUTPUTS, RESULTS, WORK, Artifact
from gpu_tasks.contract.records import Status
from tests.chaos.auditing import Spending, leaked_leases, runs_of, spending_of
from tests.chaos.digests import Digests, digests_of
from tests.chaos.jobs import requests_of, send, upload
from tests.chaos.killing import Killer, Victim
from tests.simulation.clients import gpu_workers, store_of
from tests.waiting import await_until

_PARTS = frozenset({ServiceName.ORCHESTRATOR})
_GPU_SECONDS = 2.0
_JOBS_PER_WORKER = 8
_WORKERS = 2
_LEASE_SECONDS = 6.0
_END_SECONDS = 900.0
_LOOK_SECONDS = 1.0
_WISHES = {
    "LIPSWAP_LEASE_SECONDS": str(_LEASE_SECONDS),
    "LIPSWAP_MAX_RUNS": "500",
    # Workers die here without any run's fault, and a run may be there each time.
    "LIPSWAP_RUN_ATTEMPTS": "8",
    "LIPSWAP_QUALITY_ENABLED": "false",
}


class Plan(BaseModel):
    """How much of it."""

    model_config = ConfigDict(frozen=True)

    jobs: int
    kills: int
    seed: int


class Ended(BaseModel):
    """How one round of all jobs ended."""

    model_config = ConfigDict(frozen=True)

    seconds: float
    digests: dict[int, Digests]
    failures: dict[int, str]
    starts: dict[int, int]


class Arena:
    """The stack and its clients."""

    def __init__(self, stack: Stack, prefect: PrefectClient) -> None:
        at = stack.addresses
        self.stack = stack
        self.prefect = prefect
        self.job_store = JobStore(redis_url=at.redis_url)
        self.store = store_of(at)

    async def round(self, plan: Plan, name: str, *, kills: int) -> tuple[Ended, Counter[Victim]]:
        """Send all jobs, kill meanwhile, wait until all have ended."""
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lipswap-chaos-") as folder:
            keys = await asyncio.to_thread(upload, self.store, Path(folder))
        is_at_work = True
        killer = Killer(self.stack, kills, plan.seed, lambda: is_at_work)
        killing = asyncio.create_task(killer.run())
        try:
            task_ids = await self._send_all(plan, keys, name, killer)
            runs = await self._until_ended(task_ids)
        finally:
            is_at_work = False
            killing.cancel()
            await asyncio.gather(killing, return_exceptions=True)
        if killing.done() and not killing.cancelled() and (error := killing.exception()):
            raise error
        ended = await self._look_at(task_ids, runs)
        return ended.model_copy(update={"seconds": time.monotonic() - began}), killer.done

    async def _send_all(self, plan: Plan, keys: dict[str, object], name: str, killer: Killer) -> dict[int, str]:
        """Send the jobs in step with the kills, so that there is always work to disturb."""
        task_ids = {}
        for number, request in enumerate(requests_of(keys, plan.jobs)):
            kills = math.ceil(number * killer.kills / plan.jobs)
            await await_until(partial(killer.has_killed, kills), seconds=_END_SECONDS, what=f"kill {kills} is done")
            task_ids[number] = await send(self.prefect, request, f"{name}-{number}")
        return task_ids

    async def _until_ended(self, task_ids: dict[int, str]) -> dict[str, FlowRun]:
        wanted = set(task_ids.values())
        deadline = time.monotonic() + _END_SECONDS
        while True:
            found = await patiently(lambda: runs_of(self.prefect), is_away=lambda _: True, seconds=_END_SECONDS)
            runs = {str(run.id): run for run in found if str(run.id) in wanted}
            is_over = all(run.state and run.state.is_final() for run in runs.values())
            if is_over or time.monotonic() > deadline:
                return runs
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_at(self, task_ids: dict[int, str], runs: dict[str, FlowRun]) -> Ended:
        digests, failures, starts = {}, {}, {}
        for number, task_id in task_ids.items():
            run = runs[task_id]
            starts[number] = run.run_count
            record = await self.job_store.read(task_id)
            if run.state_type is not StateType.COMPLETED:
                failures[number] = f"{run.state_name}: {run.state.message if run.state else ''}"
            elif record is not None and record.status is not Status.COMPLETED:
                failures[number] = f"its record says {record.status}"
            else:
                artifact = await asyncio.to_thread(self._result, task_id)
                digests[number] = await asyncio.to_thread(digests_of, self.store, artifact)
        return Ended(seconds=0.0, digests=digests, failures=failures, starts=starts)

    def _result(self, task_id: str) -> Artifact:
        # By its place, not by the record: Redis may have lost that.
        key = f"{OUTPUTS}{task_id}/result.mp4"
        head = self.store.head(key)
        if head is None:
            raise AssertionError(f"{key} is gone")
        return Artifact(key=key, sha256=head.metadata["sha256"], size_bytes=head.size_bytes, media_type=head.media_type)

    def forget(self) -> None:
        """Remove everything that was computed: the next round computes all of it again."""
        for prefix in (WORK, RESULTS, OUTPUTS):
            for key in tuple(self.store.keys(prefix)):
                self.store.delete(key)


async def main(plan: Plan) -> bool:
    """Run both rounds; tells whether everything was as it should be."""
    share_tls_context()
    wait_for_server()
    workers = gpu_workers(seconds=_GPU_SECONDS, concurrency=_JOBS_PER_WORKER, at_most=_WORKERS)
    settings = StackSettings(
        data_directory=Path(tempfile.mkdtemp(prefix="lipswap-chaos-")),
        parts=_PARTS,
        preferred_ports={},
        wishes=_WISHES,
        gpu_workers=workers,
        discard=True,
    )
    async with Stack(settings) as stack, PrefectClient(stack.addresses.prefect_api_url) as prefect:
        arena = Arena(stack, prefect)
        _tell(f"{plan.jobs} jobs in peace ...")
        peace, _ = await arena.round(plan, "peace", kills=0)
        _tell(f"  {len(peace.digests)} completed in {peace.seconds:.0f} s")
        await asyncio.to_thread(arena.forget)
        _tell(f"{plan.jobs} jobs again, {plan.kills} kills, seed {plan.seed} ...")
        war, killed = await arena.round(plan, "war", kills=plan.kills)
        spending = await asyncio.to_thread(spending_of, arena.store)
        zombies = [run for run in await runs_of(prefect) if run.state is None or not run.state.is_final()]
        # What a dead worker held ends by itself.
        await asyncio.sleep(2 * _LEASE_SECONDS)
        leaked = await leaked_leases(stack.addresses.redis_url.get_secret_value(), arena.job_store.prefix)
    return _report(plan, peace, war, killed, spending, zombies, leaked)


def _report(  # noqa: PLR0913, PLR0917  # each is one thing that may be wrong
    plan: Plan,
    peace: Ended,
    war: Ended,
    killed: Counter[Victim],
    spending: Spending,
    zombies: list[FlowRun],
    leaked: list[str],
) -> bool:
    differing = [number for number, digests in war.digests.items() if peace.digests.get(number) != digests]
    rows = {
        "killed": ", ".join(f"{victim} {count}" for victim, count in sorted(killed.items())),
        "starts per run": ", ".join(
            f"{starts}: {count}" for starts, count in sorted(Counter(war.starts.values()).items())
        ),
        "GPU executions": f"{spending.executions} for {spending.jobs} fingerprints",
        "beyond the first": ", ".join(f"{cause} {count}" for cause, count in spending.extra.most_common()) or "none",
        "without a cause": ", ".join(spending.unnamed) or "none",
        "zombie runs": ", ".join(run.name for run in zombies) or "none",
        "leaked leases": ", ".join(leaked) or "none",
        "failures": "; ".join(f"{number}: {why}" for number, why in sorted(war.failures.items())) or "none",
    }
    for name, told in rows.items():
        _tell(f"{name:18} {told}")
    is_good = (
        len(peace.digests) == len(war.digests) == plan.jobs
        and killed.total() == plan.kills
        and not (differing or spending.unnamed or zombies or leaked)
    )
    same = len(war.digests) - len(differing)
    _tell(
        f"{'Held' if is_good else 'BROKEN'}: {same} of {plan.jobs} jobs completed with the frames and sound of an"
        f" undisturbed run under {killed.total()} kills (seed {plan.seed}, {war.seconds:.0f} s);"
        f" {spending.extra.total()} GPU executions beyond the first have a cause, {len(spending.unnamed)} have none;"
        f" {len(zombies)} zombie runs, {len(leaked)} leaked leases."
    )
    return is_good


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # what this program is for


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10_000)
    return Plan(jobs=given.jobs, kills=given.kills, seed=seed)


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(_plan())) else 1)
