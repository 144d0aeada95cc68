"""What only the local plane offers: switches for faults, counters, and a look at workers and executions."""

from collections.abc import Mapping

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from deployments.local.control_plane.door import answer, body_of, endpoint_of
from deployments.local.control_plane.endpoint import Endpoint
from deployments.local.control_plane.faults import Faults
from deployments.local.control_plane.fleet import Phase
from deployments.local.control_plane.jobs import Execution
from deployments.local.control_plane.messages import JobStatus
from deployments.local.control_plane.store import Count

_FAULTS_BYTES = 65_536


class LocalModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class EndpointCounters(LocalModel):
    """Totals since the database was made. `started` is the number of jobs handed to a worker."""

    submitted: int
    started: int
    completed: int
    failed: int
    cancelled: int
    timed_out: int
    expired: int
    requeued: int
    retried: int
    throttled: int
    faults_injected: int
    webhooks_delivered: int
    webhooks_lost: int
    workers_started: int
    workers_crashed: int


class Counters(LocalModel):
    endpoints: dict[str, EndpointCounters]


class WorkerReportView(LocalModel):
    """`waiting`: a take is held, so the next job starts at once."""

    id: str
    phase: Phase
    pid: int | None
    jobs: tuple[str, ...]
    waiting: bool


class Workers(LocalModel):
    workers: tuple[WorkerReportView, ...]


class JobHistory(LocalModel):
    id: str
    status: JobStatus
    requeues: int
    executions: tuple[Execution, ...]


class LocalApi:
    def __init__(self, endpoints: Mapping[str, Endpoint]) -> None:
        self._endpoints = endpoints

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/local/counters", self._counters),
            web.get("/local/faults/{endpoint}", self._faults),
            web.post("/local/faults/{endpoint}", self._set_faults),
            web.get("/local/workers/{endpoint}", self._workers),
            web.get("/local/jobs/{endpoint}/{job}", self._history),
        ]

    async def _counters(self, _: web.Request) -> web.Response:
        endpoints = self._endpoints.items()
        return answer(Counters(endpoints={name: counters_of(endpoint) for name, endpoint in endpoints}))

    async def _faults(self, request: web.Request) -> web.Response:
        return answer(endpoint_of(request, self._endpoints).faults.current)

    async def _set_faults(self, request: web.Request) -> web.Response:
        """Replaces all faults of the endpoint; an empty object switches every one off."""
        endpoint = endpoint_of(request, self._endpoints)
        endpoint.faults.set(await body_of(request, Faults, at_most_bytes=_FAULTS_BYTES))
        endpoint.wake()
        return answer(endpoint.faults.current)

    async def _workers(self, request: web.Request) -> web.Response:
        workers = endpoint_of(request, self._endpoints).workers.values()
        return answer(
            Workers(
                workers=tuple(
                    WorkerReportView(
                        id=worker.id,
                        phase=worker.phase,
                        pid=worker.pid,
                        jobs=tuple(worker.leases),
                        waiting=worker.polls > 0,
                    )
                    for worker in workers
                )
            )
        )

    async def _history(self, request: web.Request) -> web.Response:
        job = endpoint_of(request, self._endpoints).job(request.match_info["job"])
        return answer(JobHistory(id=job.id, status=job.status, requeues=job.requeues, executions=job.executions))


def counters_of(endpoint: Endpoint) -> EndpointCounters:
    """All counts of the endpoint, also those that are still zero."""
    return EndpointCounters.model_validate({name.value: endpoint.counts[name] for name in Count})
