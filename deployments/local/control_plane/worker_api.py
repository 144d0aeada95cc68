"""The worker side of SDK 1.12: take a job, report on it, hear which to stop, say which are in progress."""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import web
from pydantic import RootModel

from deployments.local.control_plane.door import answer, body_of, endpoint_of, whole_number
from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.fleet import Worker
from deployments.local.control_plane.messages import JobsToStop, StreamChunk, TakenJob, WorkerReport
from deployments.local.control_plane.store import Count

_NO_CONTENT = 204


class WorkerApi:
    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    def routes(self) -> list[web.RouteDef]:
        root = "/v2/{endpoint}"
        return [
            web.get(f"{root}/job-take/{{worker}}", self._take_one),
            web.get(f"{root}/job-take-batch/{{worker}}", self._take_batch),
            web.post(f"{root}/job-done/{{worker}}/{{job}}", self._done),
            web.post(f"{root}/job-stream/{{worker}}/{{job}}", self._stream),
            web.get(f"{root}/job-stop/{{worker}}", self._stop),
            web.get(f"{root}/ping/{{worker}}", self._ping),
        ]

    async def _take_one(self, request: web.Request) -> web.Response:
        taken = await self._take(request, at_most=1)
        return answer(taken[0]) if taken else web.Response(status=_NO_CONTENT)

    async def _take_batch(self, request: web.Request) -> web.Response:
        taken = await self._take(request, at_most=whole_number(request, "batch_size", 1))
        return answer(RootModel[tuple[TakenJob, ...]](taken)) if taken else web.Response(status=_NO_CONTENT)

    async def _take(self, request: web.Request, at_most: int) -> tuple[TakenJob, ...]:
        endpoint, worker = self._who(request)
        if request.query.get("job_in_progress") == "0":
            endpoint.holds_nothing(worker)
        return tuple(job.for_worker() for job in await endpoint.take(worker, at_most))

    async def _done(self, request: web.Request) -> web.Response:
        endpoint, worker = self._who(request)
        report = await body_of(request, WorkerReport, at_most_bytes=endpoint.limits.result_bytes)
        if not report.is_progress:
            if endpoint.faults.spend("lost_results"):
                endpoint.count(Count.FAULTS_INJECTED)
                if request.transport is not None:
                    request.transport.abort()  # the SDK tries a cut connection only once
                return web.Response()
            if endpoint.faults.spend("empty_results"):
                endpoint.count(Count.FAULTS_INJECTED)
                report = WorkerReport(stop_worker=report.stop_worker)
        endpoint.report(worker, request.match_info["job"], report)
        return web.Response(text="ok")

    async def _stream(self, request: web.Request) -> web.Response:
        endpoint, worker = self._who(request)
        chunk = await body_of(request, StreamChunk, at_most_bytes=endpoint.limits.result_bytes)
        endpoint.stream(worker, request.match_info["job"], chunk)
        return web.Response(text="ok")

    async def _stop(self, request: web.Request) -> web.Response:
        """Held until there is something to stop, then repeated until the lease is gone.

        A stop that arrives between the take and the start of the handler is dropped by the SDK.
        """
        endpoint, worker = self._who(request)
        timings = endpoint.timings
        worker.stop_signal.clear()
        worker.last_stop_poll = time.monotonic()
        if any(worker.leases[job_id].stop_sent for job_id in worker.stopping()):
            await asyncio.sleep(timings.stop_repeat_seconds)
        elif not worker.stopping():
            try:
                async with asyncio.timeout(timings.poll_hold_seconds):
                    await worker.stop_signal.wait()
            except TimeoutError:
                return web.Response(status=_NO_CONTENT)
        stopping = worker.stopping()
        for job_id in stopping:
            worker.leases[job_id].stop_sent = True
        return answer(JobsToStop(jobs_to_stop=stopping))

    async def _ping(self, request: web.Request) -> web.Response:
        """Says what the worker holds. It is no sign of life: it comes from a process of its own."""
        endpoint, worker = self._who(request)
        named = request.query.get("job_id", "")
        endpoint.holds(worker, frozenset(filter(None, named.split(","))))
        return web.Response(text="ok")

    def _who(self, request: web.Request) -> tuple[Endpoint, Worker]:
        endpoint = endpoint_of(request, self._endpoints)
        return endpoint, endpoint.worker(request.match_info["worker"])
