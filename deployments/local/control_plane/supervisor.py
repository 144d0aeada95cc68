"""Keeps as many worker processes as the load asks for, and ends those that must end."""

import asyncio
import logging
import time
import uuid
from collections.abc import Collection
from pathlib import Path

from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.fleet import Phase, Worker, wanted_workers
from deployments.local.control_plane.processes import (
    Warden,
    WorkerSurroundings,
    kill_group,
    kill_marked,
    start_worker,
)
from deployments.local.control_plane.settings import ControlPlaneConfig
from deployments.local.control_plane.store import Count, Store

log = logging.getLogger(__name__)

_FIRST_BACKOFF_SECONDS = 0.5
_REAP_SECONDS = 1.5


class Supervisor:
    def __init__(
        self,
        config: ControlPlaneConfig,
        endpoints: Collection[Endpoint],
        store: Store,
        warden: Warden,
        surroundings: WorkerSurroundings,
    ) -> None:
        self._config, self._endpoints = config, endpoints
        self._store, self._warden, self._surroundings = store, warden, surroundings
        self._lives: set[asyncio.Task[None]] = set()
        self._start_again: dict[str, float] = {}
        self._stopping = False

    async def run(self) -> None:
        """Look at every endpoint once per tick, for ever."""
        while True:
            for endpoint in self._endpoints:
                endpoint.sweep()
                self._end_workers(endpoint)
                self._scale(endpoint)
            await asyncio.sleep(self._config.timings.tick_seconds)

    async def stop(self) -> None:
        """Kill every worker with all its children. What they were doing stays in the store as in progress."""
        self._stopping = True
        ids: set[str] = set()
        for endpoint in self._endpoints:
            for worker in tuple(endpoint.workers.values()):
                ids.add(worker.id)
                self._kill(endpoint, worker, "the plane stops")
        if self._lives:
            _, stuck = await asyncio.wait(self._lives, timeout=_REAP_SECONDS)
            for life in stuck:
                life.cancel()
        await asyncio.to_thread(kill_marked, ids)
        for worker_id in ids:
            self._store.worker_ended(worker_id)

    def _end_workers(self, endpoint: Endpoint) -> None:
        no_capacity = endpoint.faults.current.no_capacity
        for worker in tuple(endpoint.workers.values()):
            if worker.ignores_a_stop(self._config.timings):
                self._kill(endpoint, worker, "a job was told to stop and did not")
            elif worker.phase is Phase.RETIRING and not worker.leases:
                self._kill(endpoint, worker, "it asked for a fresh worker")
            elif no_capacity and not worker.leases:
                self._kill(endpoint, worker, "no capacity")

    def _scale(self, endpoint: Endpoint) -> None:
        load = endpoint.load()
        wanted = wanted_workers(endpoint.config, load)
        if endpoint.faults.current.no_capacity:
            return
        if load.live < wanted and time.monotonic() >= self._start_again.get(endpoint.config.id, 0):
            # After a failed start one at a time: a crash loop shall not be as wide as the endpoint.
            for _ in range(1 if endpoint.failed_starts else wanted - load.live):
                self._start(endpoint)
        spare = load.live - wanted
        for worker in tuple(endpoint.workers.values()):
            idle = worker.phase is Phase.READY and worker.idle_for() > endpoint.config.idle_seconds
            if spare > 0 and idle:
                self._kill(endpoint, worker, "idle")
                spare -= 1

    def _start(self, endpoint: Endpoint) -> None:
        worker = Worker(f"w-{uuid.uuid4().hex[:12]}")
        endpoint.workers[worker.id] = worker
        life = asyncio.create_task(self._live(endpoint, worker), name=worker.id)
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, endpoint: Endpoint, worker: Worker) -> None:
        """One worker's life, from its cold start to the last of its processes."""
        try:
            await self._cold_start(endpoint, worker)
            if worker.phase is not Phase.DYING:
                await self._run_process(endpoint, worker)
        except OSError as error:
            log.error("%s: worker %s cannot be started: %s", endpoint.config.id, worker.id, error)  # noqa: TRY400 - the error's sentence says all
        if worker.phase is Phase.STARTING:
            self._back_off(endpoint, worker)
        if not self._stopping:
            endpoint.worker_gone(worker)

    async def _cold_start(self, endpoint: Endpoint, worker: Worker) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < endpoint.faults.current.cold_start_seconds:
            if worker.phase is Phase.DYING:
                return
            await asyncio.sleep(self._config.timings.tick_seconds)

    async def _run_process(self, endpoint: Endpoint, worker: Worker) -> None:
        environment = self._surroundings.environment(endpoint.config, worker.id)
        # Told before the start: a plane killed in between must not leave the process behind.
        self._warden.watch(worker.id)
        process = await start_worker(endpoint.config, environment, self.log_file(endpoint, worker.id))
        worker.pid = process.pid
        self._store.worker_started(worker.id, process.pid)
        endpoint.count(Count.WORKERS_STARTED)
        if worker.phase is Phase.DYING:  # killed while it was being started
            kill_group(process.pid)
        code = await process.wait()
        worker.pid = None
        log.info("%s: worker %s exited with %s", endpoint.config.id, worker.id, code)
        # The SDK's ping process survives its parent and would report the job in progress for ever.
        await asyncio.to_thread(kill_marked, {worker.id})
        self._warden.release(worker.id)
        self._store.worker_ended(worker.id)

    def _back_off(self, endpoint: Endpoint, worker: Worker) -> None:
        endpoint.failed_starts += 1
        endpoint.count(Count.WORKERS_CRASHED)
        longest = self._config.timings.longest_backoff_seconds
        pause = min(longest, _FIRST_BACKOFF_SECONDS * 2 ** min(endpoint.failed_starts, 10))
        self._start_again[endpoint.config.id] = time.monotonic() + pause
        log.warning(
            "%s: worker %s ended before its first take, see %s; next start in %.1f s",
            endpoint.config.id,
            worker.id,
            self.log_file(endpoint, worker.id),
            pause,
        )

    def _kill(self, endpoint: Endpoint, worker: Worker, why: str) -> None:
        if worker.phase is Phase.DYING:
            return
        log.info("%s: worker %s is killed: %s", endpoint.config.id, worker.id, why)
        worker.phase = Phase.DYING
        endpoint.wake()
        if worker.pid is not None:
            kill_group(worker.pid)

    def log_file(self, endpoint: Endpoint, worker_id: str) -> Path:
        return self._config.log_dir / f"{endpoint.config.id}-{worker_id}.log"


async def kill_leftovers(store: Store) -> None:
    """End what a former plane on this store started and could not end itself."""
    left = store.workers()
    if killed := await asyncio.to_thread(kill_marked, left):
        log.warning("%d processes of a former plane were still running", killed)
    for worker_id in left:
        store.worker_ended(worker_id)
