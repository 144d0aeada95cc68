"""The life of an in-process worker: settings, signals, a clean end."""

import asyncio
import logging
import os
import signal
import socket
import threading
from typing import NoReturn

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker

from blocks.connections import close_shared
from blocks.logs import set_up_logs
from blocks.settings import OrchestratorSettings
from flows.cpu_pool import CPU_POOL
from flows.inprocess_engine import share_tls_context
from flows.inprocess_worker import InProcessWorker
from flows.pools import INPROCESS_POOL
from gpu_tasks import tracing

# Together under the three seconds that a supervisor grants.
_STOP_SECONDS = 2.0
_DRAIN_SECONDS = 0.4

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
    code = outcome[0] if ended.wait(_STOP_SECONDS) else 1
    CPU_POOL.close()
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=_DRAIN_SECONDS)
    tracing.flush()
    # Prefect's threads take two more seconds to end; whoever sent SIGTERM sends SIGKILL next.
    os._exit(code)


async def _serve(settings: OrchestratorSettings, stop: threading.Event) -> None:
    worker = InProcessWorker(
        work_pool_name=INPROCESS_POOL, name=f"{socket.gethostname()}-{os.getpid()}", limit=settings.max_runs
    )
    working = asyncio.create_task(worker.start())
    warming = asyncio.create_task(CPU_POOL.warm_up())
    stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await worker.hand_back_all()
            working.cancel()
    finally:
        stop.set()
        warming.cancel()
        CPU_POOL.close()
        await asyncio.gather(working, warming, return_exceptions=True)
        await close_shared()
    if not working.cancelled() and (error := working.exception()) is not None:
        raise error
