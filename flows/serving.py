"""The life of an in-process worker: settings, signals, a clean end."""

import asyncio
import logging
import os
import signal
import socket
import threading
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
from blocks.leases import Leases
from blocks.logs import set_up_logs
from blocks.settings import OrchestratorSettings
from flows.admission import Lanes
from flows.cpu_pool import CPU_POOL, QUICK_POOL
from flows.inprocess_engine import share_tls_context, wait_for_server
from flows.inprocess_worker import InProcessWorker
from flows.leasing import this_process
from flows.pools import INPROCESS_POOL
from gpu_tasks import tracing

# Together under the three seconds that a supervisor grants.
_STOP_SECONDS = 2.0
_DRAIN_SECONDS = 0.4
_QUICK_RUNS = 16
# Runs ask the bucket in threads. By default there would be six on a small machine, for all runs together.
_IO_THREADS = 32

_logger = logging.getLogger(__name__)


def serve() -> NoReturn:
    """Run the worker in a thread of its own and end the process on SIGTERM or Ctrl-C.

    The main thread keeps the signals: Prefect's engine installs a handler of its own wherever it may.
    """
    settings = OrchestratorSettings()
    set_up_logs(settings.log_format)
    tracing.set_up("lipswap-orchestrator", settings.otel_endpoint)
    CPU_POOL.processes = settings.cpu_processes
    share_tls_context()
    wait_for_server()
    stop = threading.Event()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    outcome: list[int] = []

    def run() -> None:
        try:
            asyncio.run(_serve(settings, stop))
            outcome.append(0)
        except Exception:
            _logger.exception("The worker ended.")
            outcome.append(1)
        finally:
            ended.set()
            stop.set()

    threading.Thread(target=run, name="worker", daemon=True).start()
    stop.wait()
    code = outcome[0] if ended.wait(_STOP_SECONDS + settings.drain_seconds) else 1
    _close_pools()
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_DRAIN_SECONDS)
    tracing.flush()
    # Prefect's threads take two more seconds to end; whoever sent SIGTERM sends SIGKILL next.
    os._exit(code)


async def _serve(settings: OrchestratorSettings, stop: threading.Event) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_IO_THREADS, thread_name_prefix="io"))
    name = f"{socket.gethostname()}-{os.getpid()}"
    leases = Leases.of(settings, this_process(name))
    worker = InProcessWorker(
        work_pool_name=INPROCESS_POOL,
        name=name,
        leases=leases,
        lanes=Lanes(long=settings.max_runs, quick=_QUICK_RUNS),
        run_attempts=settings.run_attempts,
    )
    working = asyncio.create_task(worker.start())
    warming = asyncio.gather(CPU_POOL.warm_up(), QUICK_POOL.warm_up())
    stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await worker.hand_back_all(drain_seconds=settings.drain_seconds)
            working.cancel()
    finally:
        stop.set()
        warming.cancel()
        _close_pools()
        await asyncio.gather(working, warming, return_exceptions=True)
        await leases.close()
        await close_shared()
    if not working.cancelled() and (error := working.exception()) is not None:
        raise error


def _close_pools() -> None:
    for pool in (CPU_POOL, QUICK_POOL):
        pool.close()
