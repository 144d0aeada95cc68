"""Stages of a stream that work at the same time: the next frame is made while the one before it is used."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from typing import Final, TypeVar, cast

Value = TypeVar("Value")

# Enough to smooth over the encoder's keyframes; each waiting frame costs its pixels in memory.
_MOST_WAITING = 4
_END: Final = object()


@contextmanager
def behind(consume: Callable[[Value], None]) -> Iterator[Callable[[Value], None]]:
    """Give a function that hands values over to `consume`, which runs in one thread, in order.

    Handing over waits while too many values wait. What `consume` raises is raised at a later hand-over or at the end of
    the context; after the context nothing runs any more.
    """
    waiting: deque[Future[None]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="behind")

    def hand_over(value: Value) -> None:
        while waiting and (waiting[0].done() or len(waiting) == _MOST_WAITING):
            waiting.popleft().result()
        waiting.append(pool.submit(consume, value))

    try:
        yield hand_over
        for consumed in waiting:
            consumed.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(values: Generator[Value], *, most_waiting: int) -> Generator[Value]:
    """Yield what `values` yields, which is made in one thread before it is asked for.

    What making raises is raised in its place. When this generator ends or is closed, `values` is closed and nothing
    runs any more.

    Args:
        values: Is not used by anybody else from here on.
        most_waiting: How many values may be made or being made before they are asked for.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    # What is logged in the thread belongs to the same job.
    context = copy_context()

    def next_value() -> object:
        return next(values, _END)

    def make() -> Future[object]:
        return pool.submit(context.run, next_value)

    with closing(values):
        try:
            waiting = deque(make() for _ in range(most_waiting))
            while (made := waiting.popleft().result()) is not _END:
                waiting.append(make())
                yield cast("Value", made)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
