"""RunPod serverless: a typed client of its REST API, and the block that says which endpoint and how patiently.

RunPod keeps a finished job for half an hour only and may lose a queued one: it is never the record of anything.
"""

import asyncio
import random
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import httpx
from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from blocks.connections import shared
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


class EndpointHealth(BaseModel):
    """Counts of jobs and workers of an endpoint, by RunPod's names."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    jobs: dict[str, int] = Field(default_factory=dict)
    workers: dict[str, int] = Field(default_factory=dict)


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

    async def submit(self, endpoint_id: str, job_input: BaseModel, *, policy: "JobPolicy") -> str:
        """Queue a job and return its id.

        Raises:
            SubmitUnclearError: The answer was lost.
            RunPodError: RUNPOD_SUBMIT_FAILED or RUNPOD_NOT_CONFIGURED; the job is not queued.
        """
        body = {"input": {"job": job_input.model_dump(mode="json")}, "policy": policy.as_json()}
        for attempt in range(_TRIES):
            try:
                async with self._in_flight:
                    answer = await self._http.post(f"/{endpoint_id}/run", json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
                pass
            except httpx.HTTPError as error:
                raise SubmitUnclearError(FaultCode.RUNPOD_SUBMIT_FAILED, "Its answer was lost.") from error
            else:
                if answer.is_success:
                    return _view(answer, FaultCode.RUNPOD_SUBMIT_FAILED).id
                if answer.is_server_error:
                    raise SubmitUnclearError(
                        FaultCode.RUNPOD_SUBMIT_FAILED, f"It answered with status {answer.status_code}."
                    )
                if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise _refused(answer, FaultCode.RUNPOD_SUBMIT_FAILED)
            await _pause(attempt)
        raise RunPodError(FaultCode.RUNPOD_SUBMIT_FAILED, "It could not be reached or has too much to do.")

    async def status(self, endpoint_id: str, job_id: str) -> JobView | None:
        """Return how a job stands, None when RunPod does not know it (any more).

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED or RUNPOD_NOT_CONFIGURED.
        """
        answer = await self._repeat("GET", f"/{endpoint_id}/status/{job_id}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        return _view(answer, FaultCode.RUNPOD_STATUS_FAILED)

    async def cancel(self, endpoint_id: str, job_id: str) -> None:
        """Stop a job; one that RunPod does not know is no error.

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED or RUNPOD_NOT_CONFIGURED.
        """
        await self._repeat("POST", f"/{endpoint_id}/cancel/{job_id}")

    async def health(self, endpoint_id: str) -> EndpointHealth:
        """Return the endpoint's counts of jobs and workers.

        Raises:
            RunPodError: RUNPOD_STATUS_FAILED or RUNPOD_NOT_CONFIGURED (also for an endpoint that does not exist).
        """
        answer = await self._repeat("GET", f"/{endpoint_id}/health")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            raise _refused(answer, FaultCode.RUNPOD_STATUS_FAILED)
        return EndpointHealth.model_validate_json(answer.content)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _repeat(self, method: str, path: str) -> httpx.Response:
        """Send a request that does no harm twice; success and 404 are returned."""
        reason = "It could not be reached."
        for attempt in range(_TRIES):
            try:
                async with self._in_flight:
                    answer = await self._http.request(method, path)
            except httpx.HTTPError:
                reason = "It could not be reached."
            else:
                if answer.is_success or answer.status_code == HTTPStatus.NOT_FOUND:
                    return answer
                if not answer.is_server_error and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                    raise _refused(answer, FaultCode.RUNPOD_STATUS_FAILED)
                reason = f"It answered with status {answer.status_code}."
            await _pause(attempt)
        raise RunPodError(FaultCode.RUNPOD_STATUS_FAILED, reason)


class JobPolicy(BaseModel):
    """Time limits that RunPod itself enforces, in seconds: of one execution, and of the job's whole life."""

    model_config = ConfigDict(frozen=True)

    execution_seconds: float = Field(ge=5)
    life_seconds: float = Field(ge=10)

    def as_json(self) -> dict[str, int]:
        """Return the request's `policy`, in milliseconds."""
        return {"executionTimeout": round(self.execution_seconds * 1000), "ttl": round(self.life_seconds * 1000)}


class RunPodEndpoint(Block):
    """One serverless endpoint on RunPod, or on anything that speaks its API.

    Example:
        Ask how many workers are idle:
        ```python
        from blocks.runpod import RunPodEndpoint

        endpoint = RunPodEndpoint.load("BLOCK_NAME")
        health = await endpoint.client().health(endpoint.endpoint_id)
        ```
    """

    _block_type_name = "Lipswap RunPod endpoint"
    _block_type_slug = "lipswap-runpod-endpoint"
    _logo_url = "https://avatars.githubusercontent.com/u/95939477?s=200"  # type: ignore[assignment]  # Prefect takes text
    _documentation_url = "https://docs.runpod.io/serverless/overview"  # type: ignore[assignment]  # the same

    api_base: str = Field(default="https://api.runpod.ai/v2", description="Address of the API, without the endpoint.")
    api_key: SecretStr = Field(default=SecretStr(""), description="The account's API key.")
    endpoint_id: str = Field(default="", description="Which endpoint runs the jobs; empty when it is not set up.")
    poll_interval_seconds: float = Field(
        default=5.0, gt=0, le=300, description="Longest time between two looks at a job that nobody woke us for."
    )
    job_timeout_seconds: float = Field(
        default=1800.0, gt=0, le=86400, description="Longest time for a job in queue and work together."
    )

    @property
    def is_configured(self) -> bool:
        return bool(self.endpoint_id and self.api_key.get_secret_value())

    @property
    def job_policy(self) -> JobPolicy:
        """RunPod's own limits, a little wider than ours: its hard delete must not come before our verdict."""
        return JobPolicy(
            execution_seconds=max(5.0, self.job_timeout_seconds), life_seconds=max(10.0, self.job_timeout_seconds + 60)
        )

    def client(self) -> RunPodClient:
        """Return the running loop's client for this account."""
        key = self.api_key.get_secret_value()
        return shared(("runpod", self.api_base, key), lambda: RunPodClient(self.api_base, self.api_key))


def _view(answer: httpx.Response, code: FaultCode) -> JobView:
    try:
        return JobView.model_validate_json(answer.content)
    except ValidationError as error:
        raise RunPodError(code, "Its answer could not be read.") from error


def _refused(answer: httpx.Response, code: FaultCode) -> RunPodError:
    match answer.status_code:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return RunPodError(FaultCode.RUNPOD_NOT_CONFIGURED, "It refuses the API key.")
        case HTTPStatus.NOT_FOUND:
            return RunPodError(FaultCode.RUNPOD_NOT_CONFIGURED, "It does not know the endpoint.")
        case status:
            return RunPodError(code, f"It answered with status {status}.")


async def _pause(attempt: int) -> None:
    longest = min(_MAX_PAUSE_SECONDS, _PAUSE_SECONDS * 2**attempt)
    await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311  # spreads clients, guards nothing
