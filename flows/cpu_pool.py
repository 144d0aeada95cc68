"""A few processes for the stages that need pixels: the event loop never decodes a frame."""

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

from flows import cpu_stages
from flows.errors import PipelineError
from gpu_tasks.contract.faults import FaultCode

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger(__name__)

_END_SECONDS = 1.0
# Decoding uses several threads by itself: more processes than cores only take memory.
DEFAULT_PROCESSES = max(1, min(4, os.cpu_count() or 1))


class CpuPool:
    """Processes that are started when first needed and replaced when one of them dies."""

    def __init__(self, processes: int = DEFAULT_PROCESSES) -> None:
        self.processes = processes
        self._executor: ProcessPoolExecutor | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a plain function in one of the processes.

        A function that was begun is not interrupted when the caller is cancelled: its result is dropped.

        Raises:
            PipelineError: OUT_OF_MEMORY when the process died, which is what the system's memory guard does to it.
        """
        if kwargs:
            raise TypeError("stages take positional arguments")
        executor = self._ready()
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, function, *args)
        except BrokenProcessPool as error:
            self._discard(executor)
            raise PipelineError(FaultCode.OUT_OF_MEMORY, "The process of a CPU stage was ended.") from error

    async def warm_up(self) -> None:
        """Start the processes and let them load their models."""
        await asyncio.gather(*(self.run(cpu_stages.warm_up) for _ in range(self.processes)))

    def close(self) -> None:
        """End the processes now, whatever they do, and remove their scratch folders."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is None:
            return
        processes = list((executor._processes or {}).values())  # noqa: SLF001  # there is no public way to end one
        for process in processes:
            # Asked to end, a busy one takes a second of the few that a worker has; what it leaves is removed here.
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.join(_END_SECONDS)
        if self._scratch is not None:
            self._scratch.cleanup()

    def _ready(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._executor is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="lipswap-cpu-", ignore_cleanup_errors=True)
                # Spawned, not forked: this process has threads and open connections.
                self._executor = ProcessPoolExecutor(
                    self.processes,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=_begin,
                    initargs=(self._scratch.name,),
                )
            return self._executor

    def _discard(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._executor is broken:
                self._executor = None
        broken.shutdown(wait=False, cancel_futures=True)
        _logger.warning("A process of the CPU pool died; the pool is started anew.")


def _begin(scratch: str) -> None:
    """Prepare a process of the pool: where it may write, and when it ends."""
    tempfile.tempdir = scratch
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()


def _end_with_parent(scratch: str) -> None:
    """A parent that was killed has cleaned nothing up."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)


# One per process, whatever runs in it; `flows.worker` sets its size before anything uses it.
CPU_POOL = CpuPool()
# For flows that take a moment: a verdict does not wait until a long video has been read.
QUICK_POOL = CpuPool(1)
