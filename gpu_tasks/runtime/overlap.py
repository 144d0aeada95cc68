"""The next frame is computed while the one before it is encoded."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Value = TypeVar("Value")

# Enough to smooth over the encoder's keyframes; each waiting frame costs its pixels in memory.
_MOST_WAITING = 4


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
