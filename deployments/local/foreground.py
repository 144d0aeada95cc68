"""Ends the foreground work of a command in an orderly way on Ctrl-C, `kill` or a closed terminal."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@asynccontextmanager
async def stopped_by_signals() -> AsyncIterator[None]:
    """Cancel what runs inside at the first signal and leave quietly; further signals do not disturb the stopping.

    Needs the main thread. The contexts entered inside (a `Stack`) are left before this one returns.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("runs outside of a task")
    asked = False

    def ask() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, ask)
    try:
        yield
    except asyncio.CancelledError:
        if not asked:
            raise
        task.uncancel()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
