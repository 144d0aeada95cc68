import threading
from collections.abc import Generator
from contextlib import closing
from contextvars import ContextVar

import pytest

from gpu_tasks.runtime.overlap import ahead, behind
from tests.waiting import PATIENCE_SECONDS, wait_until


def test_values_are_consumed_in_order_and_none_is_lost() -> None:
    seen: list[int] = []
    with behind(seen.append) as hand_over:
        for number in range(100):
            hand_over(number)
    assert seen == list(range(100))


def test_a_fast_producer_waits_for_a_slow_consumer() -> None:
    may_go_on, handed_over = threading.Event(), []

    def slow(_number: int) -> None:
        may_go_on.wait(PATIENCE_SECONDS)

    def produce() -> None:
        with behind(slow) as hand_over:
            for number in range(20):
                hand_over(number)
                handed_over.append(number)

    producer = threading.Thread(target=produce)
    producer.start()
    # It comes to rest in the fifth hand-over: four wait, and that is all the memory they may take.
    wait_until(lambda: len(handed_over) == 4, what="four wait")
    producer.join(timeout=0.3)
    assert handed_over == [0, 1, 2, 3]
    may_go_on.set()
    producer.join(PATIENCE_SECONDS)
    assert handed_over == list(range(20))


def test_what_goes_wrong_behind_is_raised_in_front() -> None:
    def fail_at_three(number: int) -> None:
        if number == 3:
            raise MemoryError

    def produce() -> None:
        with behind(fail_at_three) as hand_over:
            for number in range(1000):
                hand_over(number)

    with pytest.raises(MemoryError):
        produce()


def test_the_last_value_may_fail_too() -> None:
    def fail(_number: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError), behind(fail) as hand_over:
        hand_over(1)


def test_nothing_runs_after_an_error_in_front() -> None:
    seen: list[int] = []
    started, may_go_on = threading.Event(), threading.Event()

    def consume(number: int) -> None:
        started.set()
        may_go_on.wait(PATIENCE_SECONDS)
        seen.append(number)

    def produce() -> None:
        with behind(consume) as hand_over:
            for number in range(3):
                hand_over(number)
            started.wait(PATIENCE_SECONDS)
            may_go_on.set()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        produce()
    assert seen == list(range(len(seen)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("behind")]


def counted(stop: int, made: list[int], closed: list[bool]) -> Generator[int]:
    try:
        for number in range(stop):
            made.append(number)
            yield number
    finally:
        closed.append(True)


def test_values_made_ahead_come_in_order_and_no_more_are_made_than_may_wait() -> None:
    made: list[int] = []
    closed: list[bool] = []
    with closing(ahead(counted(20, made, closed), most_waiting=3)) as values:
        assert next(values) == 0
        wait_until(lambda: len(made) == 4, what="three values wait")
        assert list(values) == list(range(1, 20))
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_what_goes_wrong_ahead_is_raised_in_its_place() -> None:
    def fail_at_three() -> Generator[int]:
        yield from range(3)
        raise MemoryError

    values = ahead(fail_at_three(), most_waiting=8)
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(MemoryError):
        next(values)


def test_who_leaves_early_leaves_nothing_running() -> None:
    made: list[int] = []
    closed: list[bool] = []
    with closing(ahead(ahead(counted(10**9, made, closed), most_waiting=2), most_waiting=2)) as values:
        assert next(values) == 0
    assert closed == [True]
    assert len(made) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_what_is_made_ahead_belongs_to_the_same_job() -> None:
    job = ContextVar("job", default="none")
    job.set("mine")

    def names() -> Generator[str]:
        yield job.get()

    assert list(ahead(names(), most_waiting=2)) == ["mine"]
