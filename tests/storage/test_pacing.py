"""How RunPod is asked: at which pace, when not at all, and what its counts of workers mean."""

import asyncio
import time

import pytest

from blocks.circuit import Circuit
from blocks.endpoint_health import EndpointHealth, EndpointState, state_of
from blocks.rates import LIMITS, Limit, Operation, TokenBucket
from deployments.local.control_plane.settings import Limits
from tests.waiting import wait_until


def test_our_limits_are_those_of_the_plane_that_stands_for_runpod() -> None:
    documented = Limits().rates
    for operation in (Operation.RUN, Operation.STATUS, Operation.CANCEL):
        theirs = next(limit for name, limit in documented.items() if name.value == operation.value)
        assert (theirs.per_ten_seconds, theirs.concurrent) == LIMITS[operation]


async def test_a_bucket_never_admits_more_than_its_limit_in_a_window() -> None:
    bucket = TokenBucket(Limit(per_ten_seconds=50, at_once=50))
    admitted = []

    async def ask() -> None:
        async with bucket.admitted():
            admitted.append(time.monotonic())

    # A fifth at once, the others at the pace at which the bucket fills: ten of them would take more than two seconds.
    await asyncio.gather(*(ask() for _ in range(14)))
    assert admitted[9] - admitted[0] < 2.0
    assert admitted[13] - admitted[0] >= 4 / 4.0 - 0.3


async def test_at_most_so_many_are_inside_at_once() -> None:
    bucket = TokenBucket(Limit(per_ten_seconds=1000, at_once=2))
    inside = most = 0

    async def ask() -> None:
        nonlocal inside, most
        async with bucket.admitted():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(ask() for _ in range(10)))
    assert most == 2


def test_a_circuit_opens_after_failures_in_a_row_and_lets_one_ask_for_all() -> None:
    circuit = Circuit()
    for _ in range(3):
        circuit.failed()
    assert circuit.may_ask()
    circuit.succeeded()
    for _ in range(4):
        circuit.failed()
    assert not circuit.may_ask()
    assert wait_until(lambda: circuit.rest_seconds == 0, what="the circuit may be tried")
    assert circuit.may_ask(), "the one that asks for all"
    assert not circuit.may_ask()
    circuit.failed()
    assert circuit.rest_seconds > 2, "each opening lasts longer than the one before"
    circuit.succeeded()
    assert circuit.may_ask()


@pytest.mark.parametrize(
    ("workers", "queued", "state"),
    [
        ({"idle": 1, "ready": 1}, 3, EndpointState.SERVING),
        ({"running": 2, "throttled": 1}, 9, EndpointState.SERVING),
        ({"initializing": 1}, 1, EndpointState.STARTING),
        ({"initializing": 1, "unhealthy": 2}, 1, EndpointState.CRASH_LOOP),
        ({"throttled": 3}, 1, EndpointState.NO_CAPACITY),
        ({"idle": 0, "ready": 0}, 1, EndpointState.NO_WORKERS),
        ({}, 0, EndpointState.ASLEEP),
    ],
)
def test_counts_of_workers_say_why_a_job_waits(workers: dict[str, int], queued: int, state: EndpointState) -> None:
    assert state_of(EndpointHealth(workers=workers, jobs={"inQueue": queued})) is state
