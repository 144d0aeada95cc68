"""RunPod's client API, version 2, as its operation reference documents it.

Not documented, so chosen here: that an oversize body and a policy out of bounds are answered 400, that ?ttl
counts from the call, that a purged job is CANCELLED and called back, and that a retry starts the ttl anew.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from deployments.local.control_plane.door import answer, body_of, endpoint_of, whole_number
from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.faults import AnswerFault
from deployments.local.control_plane.fleet import Phase, wanted_workers
from deployments.local.control_plane.messages import (
    BadRequest,
    Health,
    JobCounts,
    JobView,
    Policy,
    Purged,
    Refused,
    StreamView,
    Submission,
    Throttled,
    WorkerCounts,
)
from deployments.local.control_plane.settings import Limits, Operation
from deployments.local.control_plane.store import Count

_Operate = Callable[[web.Request, Endpoint], Awaitable[web.Response]]


class ClientApi:
    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    def routes(self) -> list[web.RouteDef]:
        root = "/v2/{endpoint}"
        status, stream = self._door(Operation.STATUS, _status), self._door(Operation.STREAM, _stream)
        return [
            web.post(f"{root}/run", self._door(Operation.RUN, _run)),
            web.post(f"{root}/runsync", self._door(Operation.RUNSYNC, _runsync)),
            web.get(f"{root}/status/{{job}}", status),
            web.post(f"{root}/status/{{job}}", status),
            web.get(f"{root}/stream/{{job}}", stream),
            web.post(f"{root}/stream/{{job}}", stream),
            web.post(f"{root}/cancel/{{job}}", self._door(Operation.CANCEL, _cancel)),
            web.post(f"{root}/retry/{{job}}", self._door(Operation.RETRY, _retry)),
            web.post(f"{root}/purge-queue", self._door(Operation.PURGE_QUEUE, _purge)),
            web.get(f"{root}/health", self._door(Operation.HEALTH, _health)),
        ]

    def _door(self, operation: Operation, operate: _Operate) -> Handler:
        """Before the operation its rate limit, around it the injected faults."""

        async def enter(request: web.Request) -> web.StreamResponse:
            endpoint = endpoint_of(request, self._endpoints)
            try:
                with endpoint.rates.admit(operation):
                    fault = endpoint.faults.spend_answer(operation)
                    if fault is None:
                        return await operate(request, endpoint)
                    endpoint.count(Count.FAULTS_INJECTED)
                    if fault.performed:
                        await operate(request, endpoint)
                    return _spoiled(request, fault)
            except Throttled:
                endpoint.count(Count.THROTTLED)
                raise

        return enter


def _spoiled(request: web.Request, fault: AnswerFault) -> web.Response:
    if fault.status is None:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    return answer(Refused(error="an injected fault"), HTTPStatus(fault.status))


async def _run(request: web.Request, endpoint: Endpoint) -> web.Response:
    body = await body_of(request, Submission, at_most_bytes=endpoint.limits.run_bytes)
    job = endpoint.submit(_within_bounds(body, endpoint.limits), synchronous=False)
    return answer(JobView(id=job.id, status=job.status))


async def _runsync(request: web.Request, endpoint: Endpoint) -> web.Response:
    limits = endpoint.limits
    asked = whole_number(request, "wait", limits.runsync_wait_ms)
    wait_ms = max(limits.shortest_wait_ms, min(limits.longest_wait_ms, asked))
    body = await body_of(request, Submission, at_most_bytes=limits.runsync_bytes)
    job = endpoint.submit(_within_bounds(body, limits), synchronous=True)
    return answer((await endpoint.wait_until_over(job.id, wait_ms / 1000)).view())


async def _status(request: web.Request, endpoint: Endpoint) -> web.Response:
    job = endpoint.job(request.match_info["job"])
    if "ttl" in request.query:
        endpoint.expire_in(job.id, whole_number(request, "ttl", 0))
    return answer(job.view())


async def _stream(request: web.Request, endpoint: Endpoint) -> web.Response:
    job = endpoint.job(request.match_info["job"])
    chunks = endpoint.take_chunks(job.id)
    return answer(StreamView(**job.view().model_dump(by_alias=False), stream=chunks))


async def _cancel(request: web.Request, endpoint: Endpoint) -> web.Response:
    job = endpoint.cancel(request.match_info["job"])
    return answer(JobView(id=job.id, status=job.status))


async def _retry(request: web.Request, endpoint: Endpoint) -> web.Response:
    job = endpoint.retry(request.match_info["job"])
    return answer(JobView(id=job.id, status=job.status))


async def _purge(_: web.Request, endpoint: Endpoint) -> web.Response:
    return answer(Purged(removed=endpoint.purge()))


async def _health(_: web.Request, endpoint: Endpoint) -> web.Response:
    return answer(health_of(endpoint))


def health_of(endpoint: Endpoint) -> Health:
    """What /health says. Workers that end before their first take are `unhealthy`, one per failed start."""
    counts, workers = endpoint.counts, endpoint.workers.values()
    ready = [worker for worker in workers if worker.phase is Phase.READY]
    running = sum(bool(worker.leases) for worker in ready)
    wanted = wanted_workers(endpoint.config, endpoint.load())
    no_capacity = endpoint.faults.current.no_capacity
    return Health(
        jobs=JobCounts(
            completed=counts[Count.COMPLETED],
            failed=counts[Count.FAILED] + counts[Count.TIMED_OUT],
            in_progress=endpoint.in_progress,
            in_queue=endpoint.queued,
            retried=counts[Count.REQUEUED] + counts[Count.RETRIED],
        ),
        workers=WorkerCounts(
            idle=len(ready) - running,
            initializing=sum(worker.phase is Phase.STARTING for worker in workers),
            ready=len(ready),
            running=running,
            throttled=max(0, wanted - len(ready)) if no_capacity else 0,
            unhealthy=min(endpoint.failed_starts, endpoint.config.max_workers),
        ),
    )


def _within_bounds(submission: Submission, limits: Limits) -> Submission:
    policy: Policy = submission.policy
    if submission.input is None:
        raise BadRequest("input is missing")
    for name, value, least in (
        ("executionTimeout", policy.execution_timeout, limits.shortest_execution_timeout_ms),
        ("ttl", policy.ttl, limits.shortest_ttl_ms),
    ):
        if value is not None and not least <= value <= limits.longest_ms:
            raise BadRequest(f"policy.{name} is outside {least}..{limits.longest_ms} ms")
    return submission
