"""The life of an in-process worker: a thread of its own, signals, a clean end."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

# Seconds of imports, which the first run would wait for, and the event loop with it: leases are renewed there.
import flows.faces
import flows.pipeline
import flows.preview
import flows.verifying  # noqa: F401  # the same
from blocks.connections import close_shared
from blocks.logs import set_up_logs
from flows.cpu_pool import CPU_POOL, QUICK_POOL
from flows.inprocess_worker import InProcessWorker
from flows.patient_clients import confirm_events_often, share_tls_context, wait_for_server
from gpu_tasks import tracing

# Together three seconds, with spans and processes that end, beside what the settings grant the runs: docs/recovery.md
# tells supervisors to wait for both.
_STOP_SECONDS = 1.0
_GOODBYE_SECONDS = 0.3
_DRAIN_SECONDS = 0.3
# Runs ask the bucket in threads. By default there would be six on a small machine, for all runs together.
_IO_THREADS = 32

_logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Life:
    """A worker at work in a thread of its own: Prefect's engine installs a handler of signals wherever it may.

    Args:
        worker: Who works.
        work: What it does until it is cancelled.
    """

    def __init__(self, worker: InProcessWorker, work: Work) -> None:
        self._worker = worker
        self._work = work
        self._runs_seconds = worker.settings.drain_seconds + worker.settings.hand_back_seconds
        self._stop, self._handed_back, self._ended = threading.Event(), threading.Event(), threading.Event()
        self.error: BaseException | None = None
        self._is_all_back = True
        CPU_POOL.processes = worker.settings.cpu_processes
        share_tls_context()
        wait_for_server()
        confirm_events_often()
        threading.Thread(target=self._live, name="worker", daemon=True).start()

    def stop(self) -> None:
        """Ask it to hand back its runs and end."""
        self._stop.set()

    def until_over(self) -> bool:
        """Wait until it has ended, or has handed back all runs after `stop`; tells whether all is well."""
        self._stop.wait()
        is_over = self._handed_back.wait(self._runs_seconds + _STOP_SECONDS)
        for pool in (CPU_POOL, QUICK_POOL):
            pool.close()
        # What is left to say is that the worker is gone, which Prefect finds out by itself, too.
        self._ended.wait(_GOODBYE_SECONDS)
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(timeout=_DRAIN_SECONDS)
        tracing.flush()
        return is_over and self._is_all_back and self.error is None

    def _live(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            _logger.exception("The worker ended.")
            self.error = error
        finally:
            for event in (self._handed_back, self._ended, self._stop):
                event.set()

    async def _serve(self) -> None:
        asyncio.get_running_loop().set_default_executor(_io_threads())
        working = asyncio.ensure_future(self._work())
        warming = asyncio.gather(CPU_POOL.warm_up(), QUICK_POOL.warm_up())
        stopping = asyncio.create_task(asyncio.to_thread(self._stop.wait))
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not working.cancelled():
                # Said before anybody is told that all is over; what was at work has been handed back by then.
                self.error = working.exception()
            self._is_all_back = await self._worker.hand_back_all()
            working.cancel()
        finally:
            for event in (self._handed_back, self._stop):
                event.set()
            warming.cancel()
            await asyncio.gather(working, warming, return_exceptions=True)
            await close_shared()
        if not working.cancelled() and (error := working.exception()) is not None:
            raise error


def _io_threads() -> ThreadPoolExecutor:
    """Return the threads, all of them started: how many there are then depends on no number of runs."""
    threads = ThreadPoolExecutor(_IO_THREADS, thread_name_prefix="io")
    all_there = threading.Barrier(_IO_THREADS)
    for _ in range(_IO_THREADS):
        threads.submit(all_there.wait)
    return threads


def _stop_at_signals(life: Life) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: life.stop())


def serve(worker: InProcessWorker) -> NoReturn:
    """Let a worker work, and end the process on SIGTERM or Ctrl-C."""
    settings = worker.settings
    set_up_logs(settings.log_format)
    tracing.set_up("lipswap-orchestrator", settings.otel_endpoint)
    life = Life(worker, worker.start)
    _stop_at_signals(life)
    # Prefect's threads take two more seconds to end; whoever sent SIGTERM sends SIGKILL next.
    os._exit(0 if life.until_over() else 1)


async def work_beside_signals(worker: InProcessWorker, work: Work) -> None:
    """Let a worker work until SIGTERM, Ctrl-C, or until this is cancelled; on the main thread."""
    tracing.set_up("lipswap-orchestrator", worker.settings.otel_endpoint)
    life = Life(worker, work)
    # Prefect's command line turns both into a KeyboardInterrupt, which may come anywhere, and twice.
    _stop_at_signals(life)
    over = asyncio.create_task(asyncio.to_thread(life.until_over))
    try:
        await asyncio.shield(over)
    finally:
        life.stop()
        is_well = await over
    if life.error is not None:
        raise life.error
    if not is_well:
        raise SystemExit(1)
