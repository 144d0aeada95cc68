"""A typed client of RunPod's serverless REST API: paced, bounded, patient where patience does no harm.

RunPod keeps a finished job for half an hour only and may lose a queued one: it is never the record of anything.
"""

import asyncio
import random
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, ValidationError

from blocks.circuit import Circuit
from blocks.endpoint_health import EndpointHealth
from blocks.rates import LIMITS, Operation, TokenBucket
from gpu_tasks.contract.faults import FaultCode, FaultError

# httpx serves many waiters of a large pool slowly; measured best between 16 and 32 requests in flight.
_IN_FLIGHT = 16
_REQUEST_SECONDS = 10.0
_TRIES = 4
_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 4.0


class RunPodError(FaultError):
    """RunPod refused a request or did not answer it."""


class SubmitUnclearError(RunPodError):
    """RunPod may or may not have queued the job: the answer was lost. Only a new attempt makes it certain."""


class JobStatus(StrEnum):
    """States of a job on RunPod; RUNNING is documented as an older name of IN_PROGRESS."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    @property
    def is_final(self) -> bool:
        return self in {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.TIMED_OUT}


class JobView(BaseModel):
    """What RunPod says of a job. `delay_ms` and `execution_ms` are milliseconds in the queue and on the worker."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    id: str
    status: JobStatus
    output: Any = None
    error: Any = None
    worker_id: str | None = Field(default=None, alias="workerId")
    delay_ms: float | None = Field(default=None, alias="delayTime")
    execution_ms: float | None = Field(default=None, alias="executionTime")


class JobPolicy(BaseModel):
    """Time limits that RunPod itself enforces, in seconds: of one execution, and of the job's whole life.

    RunPod takes executions from 5 s and lives from 10 s up to 7 days; a life counts from the submission, and its end
    deletes the job even while it runs (operation reference, "Execution policies").
    """

    model_config = ConfigDict(frozen=True)

    execution_seconds: float = Field(ge=5, le=7 * 86400)
    life_seconds: float = Field(ge=10, le=7 * 86400)

    def as_json(self) -> dict[str, JsonValue]:
        """Return the request's `policy`, in milliseconds."""
        return {"executionTimeout": round(self.execution_seconds * 1000), "ttl": round(self.life_seconds * 1000)}


class _Lane:
    """One operation on one endpoint: how fast we may ask, and whether asking makes sense."""

    def __init__(self, operation: Operation) -> None:
        self.bucket = TokenBucket(LIMITS[operation])
        self.circuit = Circuit()
        # What those are told who may not ask while the circuit is open.
        self.refusal = RunPodError(FaultCode.RUNPOD_SUBMIT_FAILED, "It could not be reached.")


class RunPodClient:
    """The operations on endpoints of one account; at most a few requests are in flight at once.

    Reading and cancelling are tried again after 429, 5xx and a broken connection. Submitting is tried again only when
    RunPod certainly did not take the job.
    """

    def __init__(self, api_base: str, api_key: SecretStr) -> None:
        self._http = httpx.AsyncClient(
            base_url=api_base,
            headers={"Authorization": f"Bearer {api_key.get_secret_value()}"},
            timeout=_REQUEST_SECONDS,
            limits=httpx.Limits(max_connections=_IN_FLIGHT, max_keepalive_connections=_IN_FLIGHT),
        )
        self._in_flight = asyncio.Semaphore(_IN_FLIGHT)
        self._lanes: dict[tuple[str, Operation], _Lane] = {}

    def circuit(self, endpoint_id: str, operation: Operation) -> Circuit:
        """Return what has been learned of an operation on an endpoint."""
        return self._lane(endpoint_id, operation).circuit

    async def submit(
        self, endpoint_id: str, job_input: dict[str, JsonValue], *, policy: JobPolicy, webhook_url: str = ""
    ) -> str:
        """Queue a job and return its id.

        Raises:
            SubmitUnclearError: The answer was lost.
            RunPodError: RUNPOD_SUBMIT_FAILED, RUNPOD_THROTTLED, RUNPOD_KEY_REFUSED or RUNPOD_ENDPOINT_UNKNOWN; the job
                is certainly not queued.
        """
        body: dict[str, JsonValue] = {"input": job_input, "policy": policy.as_json()}
        if webhook_url:
            body["webhook"] = webhook_url
        lane = self._lane(endpoint_id, Operation.RUN)
        circuit = lane.circuit
        for attempt in range(_TRIES):
            if not circuit.may_ask():
                break
            try:
                answer = await self._send("POST", endpoint_id, Operation.RUN, "", json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
                lane.refusal = RunPodError(FaultCode.RUNPOD_SUBMIT_FAILED, "It could not be reached.")
            except httpx.HTTPError as error:
                circuit.failed()
                raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, "Its answer was lost.") from error
            else:
                if answer.is_success:
                    circuit.succeeded()
                    return _queued(answer)
                if answer.is_server_error:
                    circuit.failed()
                    reason = f"It answered with status {answer.status_code}."
                    raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, reason)
                if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise _refused(answer, FaultCode.RUNPOD_SUBMIT_FAILED)
                lane.refusal = RunPodError(FaultCode.RUNPOD_THROTTLED, "It answers with status 429.")
            circuit.failed()
            await _pause(attempt)
        raise RunPodError.told(lane.refusal.fault)

    async def status(self, endpoint_id: str, job_id: str, *, tries: int = _TRIES) -> JobView | None:
        """Return how a job stands, None when RunPod does not know it (any more).

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED, RUNPOD_THROTTLED or RUNPOD_KEY_REFUSED.
        """
        answer = await self._repeat("GET", endpoint_id, Operation.STATUS, f"/{job_id}", tries=tries)
        return None if answer.status_code == HTTPStatus.NOT_FOUND else _view(answer, FaultCode.RUNPOD_STATUS_FAILED)

    async def cancel(self, endpoint_id: str, job_id: str) -> bool:
        """Ask RunPod to stop a job; False when it does not know the job.

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED, RUNPOD_THROTTLED or RUNPOD_KEY_REFUSED.
        """
        answer = await self._repeat("POST", endpoint_id, Operation.CANCEL, f"/{job_id}")
        return answer.status_code != HTTPStatus.NOT_FOUND

    async def health(self, endpoint_id: str) -> EndpointHealth:
        """Return the endpoint's counts of jobs and workers.

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED, RUNPOD_THROTTLED, RUNPOD_KEY_REFUSED or RUNPOD_ENDPOINT_UNKNOWN.
        """
        answer = await self._repeat("GET", endpoint_id, Operation.HEALTH, "")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise _refused(answer, FaultCode.RUNPOD_STATUS_FAILED)
        try:
            return EndpointHealth.model_validate_json(answer.content)
        except ValidationError as error:
            raise RunPodError(FaultCode.RUNPOD_STATUS_FAILED, "Its answer could not be read.") from error

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _repeat(
        self, method: str, endpoint_id: str, operation: Operation, rest: str, *, tries: int = _TRIES
    ) -> httpx.Response:
        """Send a request that does no harm twice; success and 404 are returned."""
        circuit = self.circuit(endpoint_id, operation)
        reason = RunPodError(FaultCode.RUNPOD_STATUS_FAILED, "It could not be reached.")
        for attempt in range(tries):
            try:
                answer = await self._send(method, endpoint_id, operation, rest)
            except httpx.HTTPError:
                reason = RunPodError(FaultCode.RUNPOD_STATUS_FAILED, "It could not be reached.")
            else:
                if answer.is_success or answer.status_code == HTTPStatus.NOT_FOUND:
                    circuit.succeeded()
                    return answer
                if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
                    reason = RunPodError(FaultCode.RUNPOD_THROTTLED, "It answers with status 429.")
                elif answer.is_server_error:
                    reason = RunPodError(
                        FaultCode.RUNPOD_STATUS_FAILED, f"It answered with status {answer.status_code}."
                    )
                else:
                    raise _refused(answer, FaultCode.RUNPOD_STATUS_FAILED)
            circuit.failed()
            if attempt + 1 < tries:
                await _pause(attempt)
        raise reason

    async def _send(
        self, method: str, endpoint_id: str, operation: Operation, rest: str, *, json: JsonValue = None
    ) -> httpx.Response:
        bucket = self._lane(endpoint_id, operation).bucket
        async with bucket.admitted(), self._in_flight:
            answer = await self._http.request(method, f"/{endpoint_id}/{operation}{rest}", json=json)
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            bucket.rest(_PAUSE_SECONDS)
        return answer

    def _lane(self, endpoint_id: str, operation: Operation) -> _Lane:
        name = (endpoint_id, operation)
        if name not in self._lanes:
            self._lanes[name] = _Lane(operation)
        return self._lanes[name]


def _queued(answer: httpx.Response) -> str:
    """Read the id of a job that RunPod says it has taken; one that cannot be read is a job that nobody knows."""
    try:
        return _view(answer, FaultCode.RUNPOD_SUBMIT_FAILED).id
    except RunPodError as error:
        raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, "Its answer could not be read.") from error


def _view(answer: httpx.Response, code: FaultCode) -> JobView:
    try:
        return JobView.model_validate_json(answer.content)
    except ValidationError as error:
        raise RunPodError(code, "Its answer could not be read.") from error


def _refused(answer: httpx.Response, code: FaultCode) -> RunPodError:
    match answer.status_code:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return RunPodError(FaultCode.RUNPOD_KEY_REFUSED)
        case HTTPStatus.NOT_FOUND:
            return RunPodError(FaultCode.RUNPOD_ENDPOINT_UNKNOWN)
        case status:
            return RunPodError(code, f"It answered with status {status}.")


async def _pause(attempt: int) -> None:
    longest = min(_MAX_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt)
    await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  # spreads clients, guards nothing
