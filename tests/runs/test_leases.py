"""Leases in a real Redis: who holds a run, who may take it from whom, and what a loss of Redis means."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Collection
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from blocks.leases import Holder, LeaseError, Leases, Renewal
from flows.handover import is_handed_back, let_go, take_up
from flows.leasing import LeaseKeeper, is_dead, this_process
from tests.runpod.plane import comes_true
from tests.servers import RunningStack
from tests.waiting import await_until

LEASE_SECONDS = 1.0
LONG_SECONDS = 60.0

Make = Callable[[float], Leases]


@pytest.fixture
async def redis(stack: RunningStack) -> AsyncIterator[Redis]:
    async with Redis.from_url(stack.addresses.redis_url.get_secret_value(), decode_responses=True) as redis:
        yield redis


@pytest.fixture
def another(redis: Redis) -> Make:
    """Makes the leases of one more worker; a prefix of this test's own."""
    prefix = f"leases-{uuid4()}"
    return lambda seconds: Leases(redis, prefix, this_process(f"worker-{uuid4()}"), seconds)


class Server:
    """What Prefect would confirm, and what a worker was told that it lost."""

    def __init__(self) -> None:
        self.moved_on: set[UUID] = set()
        self.lost: list[UUID] = []

    def keeper(self, leases: Leases) -> LeaseKeeper:
        return LeaseKeeper(leases, confirm=self._confirm, lost=self.lost.append)

    async def _confirm(self, run_ids: Collection[UUID]) -> set[UUID]:
        return set(run_ids) - self.moved_on


async def _until_free(looking: Leases, run_id: object) -> None:
    async def is_free() -> bool:
        return (await looking.holders([str(run_id)]))[str(run_id)] is None

    await comes_true(is_free, what="the lease is over")


async def test_one_of_many_workers_gets_a_run(another: Make) -> None:
    workers = [another(LONG_SECONDS) for _ in range(8)]
    taken = await asyncio.gather(*(worker.take("run") for worker in workers))
    assert sorted(taken) == [False] * 7 + [True]


async def test_one_of_two_reapers_takes_the_run_of_a_dead_worker(another: Make) -> None:
    dead, *reapers = (another(LONG_SECONDS) for _ in range(3))
    assert await dead.take("run")
    holder = (await reapers[0].holders(["run"]))["run"]
    assert holder == dead.holder
    taken = await asyncio.gather(*(reaper.take("run", instead_of=holder) for reaper in reapers))
    assert sorted(taken) == [False, True]


async def test_a_lease_ends_by_itself_and_is_not_revived(another: Make) -> None:
    paused, next_one = another(0.2), another(LONG_SECONDS)
    assert await paused.take("run")

    await _until_free(next_one, "run")
    assert (await paused.renew(["run"]))[1] == {"run": Renewal.MISSING}
    assert await next_one.take("run")
    assert (await paused.renew(["run"]))[1] == {"run": Renewal.TAKEN}
    await paused.release(["run"])
    assert (await next_one.holders(["run"]))["run"] == next_one.holder


async def test_a_worker_that_slept_keeps_what_nobody_has_taken(another: Make) -> None:
    server, run_id = Server(), uuid4()
    keeper = server.keeper(another(LEASE_SECONDS))
    assert await keeper.take(run_id)
    await await_until(lambda: not keeper.is_fresh(run_id), what="the lease is over")
    assert await keeper.is_ours(run_id)
    assert keeper.is_fresh(run_id)
    assert server.lost == []


async def test_a_worker_that_slept_loses_what_another_has_taken(another: Make) -> None:
    server, run_id = Server(), uuid4()
    keeper = server.keeper(another(0.2))
    assert await keeper.take(run_id)
    await _until_free(keeper.leases, run_id)
    assert await another(LONG_SECONDS).take(str(run_id))
    assert not await keeper.is_ours(run_id)
    assert server.lost == [run_id]


async def test_a_worker_that_slept_loses_what_another_has_taken_and_ended(another: Make) -> None:
    server, run_id = Server(), uuid4()
    keeper = server.keeper(another(0.2))
    assert await keeper.take(run_id)
    await _until_free(keeper.leases, run_id)
    server.moved_on.add(run_id)
    assert not await keeper.is_ours(run_id)
    assert server.lost == [run_id]
    assert (await keeper.leases.holders([str(run_id)]))[str(run_id)] is None


async def test_a_missing_lease_means_nothing_within_a_lease_time_after_redis_lost_them(
    another: Make, redis: Redis
) -> None:
    server, run_id = Server(), uuid4()
    keeper = server.keeper(another(LEASE_SECONDS))
    assert not keeper.trusts_missing, "it has just come"
    assert await keeper.take(run_id)
    keeping = asyncio.create_task(keeper.keep())
    try:
        await await_until(lambda: keeper.trusts_missing, what="it knows the others")
        trusts_from = keeper._reaping_from
        async for key in redis.scan_iter("leases-*"):
            await redis.delete(key)
        # For a lease time it trusts nothing that is missing; when that began does not pass by.
        await await_until(lambda: keeper._reaping_from > trusts_from, what="the loss is noticed")

        async def is_held_again() -> bool:
            return (await keeper.leases.holders([str(run_id)]))[str(run_id)] == keeper.leases.holder

        await comes_true(is_held_again, what="the lease is held again")
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert server.lost == []


async def test_a_run_that_a_dead_process_still_holds_is_taken_at_once_and_that_of_a_living_one_is_not(
    another: Make,
) -> None:
    mine, run_id = another(LONG_SECONDS), uuid4()
    keeper = Server().keeper(mine)
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    holder = Holder(name="other", place=mine.holder.place, pid=child.pid, epoch="1")
    other = Leases(mine._redis, mine._prefix, holder, LONG_SECONDS)
    assert await other.take(str(run_id))
    assert not await keeper.take(run_id)
    child.kill()
    await child.wait()
    assert await keeper.take(run_id)
    assert (await other.renew([str(run_id)]))[1] == {str(run_id): Renewal.TAKEN}


async def test_without_redis_runs_are_taken_and_kept_as_prefect_knows_them() -> None:
    nowhere = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1)
    server, run_id, moved_on = Server(), uuid4(), uuid4()
    keeper = server.keeper(Leases(nowhere, "nowhere", this_process("alone"), LEASE_SECONDS))
    assert await keeper.take(run_id)
    assert await keeper.take(moved_on)
    await await_until(lambda: not keeper.is_fresh(moved_on), what="the leases are over")
    server.moved_on.add(moved_on)
    assert await keeper.is_ours(run_id)
    assert not await keeper.is_ours(moved_on)
    assert server.lost == [moved_on]
    with pytest.raises(LeaseError):
        await keeper.leases.holders(["run"])
    await nowhere.aclose()


async def test_runs_that_may_kill_their_worker_begin_one_at_a_time(another: Make) -> None:
    one, two = another(LONG_SECONDS), another(LONG_SECONDS)
    assert await one.begin_trial("first")
    assert await one.begin_trial("first")
    assert not await two.begin_trial("second")
    assert not await two.end_trial("second")
    assert await two.end_trial("first")
    assert await two.begin_trial("second")


def test_only_a_process_that_could_be_seen_is_known_to_be_dead() -> None:
    me = this_process("me")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        alive = Holder(name="other", place=me.place, pid=child.pid, epoch="1")
        assert not is_dead(alive, me)
        child.kill()
        child.wait(10)
        assert is_dead(alive, me)
    assert not is_dead(alive.model_copy(update={"place": "another host"}), me)
    assert not is_dead(me, me)
    # A container that was started again has its predecessor's pid.
    assert is_dead(Holder(name="me", place=me.place, pid=os.getpid(), epoch="before"), me)


def test_who_cannot_be_sure_of_a_run_does_not_stop_its_jobs() -> None:
    is_fresh = True
    take_up("run", is_fresh=lambda: is_fresh)
    assert not is_handed_back("run")
    is_fresh = False
    assert is_handed_back("run")
    let_go("run")
    assert not is_handed_back("run")
