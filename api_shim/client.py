"""The Python client of the API, synchronous and asynchronous: the same methods under the same names.

with Client("http://127.0.0.1:8000") as client:
    target = client.upload(Path("target.mp4"), kind="video")
    audio = client.upload(Path("speech.wav"), kind="audio")
    task = client.run(PipelineRequest(target_key=target.key, audio_key=audio.key))
    for record in client.follow(task.task_id, timeout=600):
        print(record.percent, record.stage)
    client.download(record.result.output_key, Path("result.mp4"))
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from mimetypes import guess_type
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import httpx
from pydantic import SecretStr

from api_shim import calls
from api_shim.calls import ApiError, ApiUnreachableError, ClientError, NotEndedError
from api_shim.wire import Intent, PresignAnswer, PresignRequest, Readiness, RunSummary, UploadAnswer
from flows.request import PipelineRequest
from gpu_tasks.contract.credentials import Verdict
from gpu_tasks.contract.records import TaskRecord

__all__ = ["ApiError", "ApiUnreachableError", "AsyncClient", "Client", "ClientError", "NotEndedError"]

Kind = Literal["audio", "video", "source"]
# How often `follow` looks for progress; the end is pushed and comes at once.
_FOLLOW_SECONDS = 1.0
# How long one request of `wait` is kept open: proxies close what is silent for a minute.
_LONGEST_WAIT_SECONDS = 50.0


class Client:
    """Calls the API; every method may raise ApiError or ApiUnreachableError."""

    def __init__(self, base_url: str, *, secret: SecretStr | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(base_url=self.base_url, headers=_authorization(secret))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def run(self, request: PipelineRequest, *, idempotency_key: str | None = None) -> RunSummary:
        """Start a task. With `idempotency_key` a repeated call gives the same task."""
        return calls.parsed(self._send(calls.run_call(request, idempotency_key)), RunSummary)

    def status(self, task_id: str, *, wait_seconds: float | None = None) -> TaskRecord:
        """Return the record now, or as soon as the task ends and at the latest after `wait_seconds`."""
        return calls.parsed_record(self._send(calls.status_call(task_id, wait_seconds)))

    def wait(self, task_id: str, *, timeout: float) -> TaskRecord:
        """Return the final record.

        Raises:
            NotEndedError: The task has not ended after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            record = self.status(task_id, wait_seconds=_next_wait(deadline, _LONGEST_WAIT_SECONDS))
            if record.status.is_final or time.monotonic() >= deadline:
                return calls.ended(record, timeout)

    def follow(self, task_id: str, *, timeout: float) -> Iterator[TaskRecord]:
        """Yield the record now, whenever it has changed, and at the end.

        Raises:
            NotEndedError: The task has not ended after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        record = self.status(task_id)
        yield record
        while not record.status.is_final:
            newer = self.status(task_id, wait_seconds=_next_wait(deadline, _FOLLOW_SECONDS))
            if newer.revision != record.revision or newer.status.is_final:
                record = newer
                yield record
            if time.monotonic() >= deadline:
                calls.ended(record, timeout)

    def cancel(self, task_id: str) -> RunSummary:
        """Ask for the end of a task."""
        return calls.parsed(self._send(calls.cancel_call(task_id)), RunSummary)

    def upload(self, path: Path, *, kind: Kind) -> UploadAnswer:
        """Store a file for use in a request."""
        with path.open("rb") as stream:
            return calls.parsed(self._send(_upload_call(stream, path, kind)), UploadAnswer)

    def presign(self, asked: PresignRequest) -> PresignAnswer:
        """Return a URL for direct transfer to or from the bucket."""
        return calls.parsed(self._send(calls.presign_call(asked)), PresignAnswer)

    def download(self, key: str, destination: Path) -> None:
        """Fetch an object, directly from the bucket; `destination` appears only when it is complete."""
        presigned = self.presign(PresignRequest(intent=Intent.DOWNLOAD, key=key))
        # Not with our own client: the bucket is not given the secret.
        with (
            self._answered(),
            _partial(destination) as partial,
            httpx.stream("GET", presigned.url, timeout=calls.REQUEST_SECONDS) as answer,
            partial.open("wb") as file,
        ):
            calls.raise_for_error(answer)
            for chunk in answer.iter_bytes():
                file.write(chunk)

    def verify(self, key: str) -> Verdict:
        """Return whose credential a stored file carries, and whether picture, sound and index are as signed."""
        return calls.parsed(self._send(calls.verify_call(key)), Verdict)

    def ready(self) -> Readiness:
        """Return which dependencies of the service answer; `unready` is an answer, too."""
        with self._answered():
            return Readiness.model_validate_json(self._http.get("/health/ready").content)

    def _send(self, call: calls.Call) -> httpx.Response:
        with self._answered():
            return self._http.request(call.method, call.path, **call.options())

    @contextmanager
    def _answered(self) -> Iterator[None]:
        with _answered_by(self.base_url):
            yield


class AsyncClient:
    """Calls the API; every method may raise ApiError or ApiUnreachableError. See Client."""

    def __init__(self, base_url: str, *, secret: SecretStr | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.AsyncClient(base_url=self.base_url, headers=_authorization(secret))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def run(self, request: PipelineRequest, *, idempotency_key: str | None = None) -> RunSummary:
        """See Client.run."""
        return calls.parsed(await self._send(calls.run_call(request, idempotency_key)), RunSummary)

    async def status(self, task_id: str, *, wait_seconds: float | None = None) -> TaskRecord:
        """See Client.status."""
        return calls.parsed_record(await self._send(calls.status_call(task_id, wait_seconds)))

    async def wait(self, task_id: str, *, timeout: float) -> TaskRecord:  # noqa: ASYNC109  # as in Client
        """See Client.wait."""
        deadline = time.monotonic() + timeout
        while True:
            record = await self.status(task_id, wait_seconds=_next_wait(deadline, _LONGEST_WAIT_SECONDS))
            if record.status.is_final or time.monotonic() >= deadline:
                return calls.ended(record, timeout)

    async def follow(self, task_id: str, *, timeout: float) -> AsyncIterator[TaskRecord]:  # noqa: ASYNC109  # as in Client
        """See Client.follow."""
        deadline = time.monotonic() + timeout
        record = await self.status(task_id)
        yield record
        while not record.status.is_final:
            newer = await self.status(task_id, wait_seconds=_next_wait(deadline, _FOLLOW_SECONDS))
            if newer.revision != record.revision or newer.status.is_final:
                record = newer
                yield record
            if time.monotonic() >= deadline:
                calls.ended(record, timeout)

    async def cancel(self, task_id: str) -> RunSummary:
        """See Client.cancel."""
        return calls.parsed(await self._send(calls.cancel_call(task_id)), RunSummary)

    async def upload(self, path: Path, *, kind: Kind) -> UploadAnswer:
        """See Client.upload."""
        with await asyncio.to_thread(path.open, "rb") as stream:
            return calls.parsed(await self._send(_upload_call(stream, path, kind)), UploadAnswer)

    async def presign(self, asked: PresignRequest) -> PresignAnswer:
        """See Client.presign."""
        return calls.parsed(await self._send(calls.presign_call(asked)), PresignAnswer)

    async def download(self, key: str, destination: Path) -> None:
        """See Client.download."""
        presigned = await self.presign(PresignRequest(intent=Intent.DOWNLOAD, key=key))
        with _answered_by(self.base_url), _partial(destination) as partial:
            async with (
                httpx.AsyncClient(timeout=calls.REQUEST_SECONDS) as bucket,
                bucket.stream("GET", presigned.url) as answer,
            ):
                calls.raise_for_error(answer)
                with await asyncio.to_thread(partial.open, "wb") as file:
                    async for chunk in answer.aiter_bytes():
                        await asyncio.to_thread(file.write, chunk)

    async def verify(self, key: str) -> Verdict:
        """See Client.verify."""
        return calls.parsed(await self._send(calls.verify_call(key)), Verdict)

    async def ready(self) -> Readiness:
        """See Client.ready."""
        with _answered_by(self.base_url):
            return Readiness.model_validate_json((await self._http.get("/health/ready")).content)

    async def _send(self, call: calls.Call) -> httpx.Response:
        with _answered_by(self.base_url):
            return await self._http.request(call.method, call.path, **call.options())


def _authorization(secret: SecretStr | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret.get_secret_value()}"} if secret else {}


def _upload_call(stream: IO[bytes], path: Path, kind: Kind) -> calls.Call:
    content_type = guess_type(path.name)[0] or "application/octet-stream"
    return calls.upload_call(stream, filename=path.name, prefix=f"uploads/{kind}", content_type=content_type)


def _next_wait(deadline: float, longest: float) -> float:
    return max(0.001, min(longest, deadline - time.monotonic()))


@contextmanager
def _answered_by(base_url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise calls.unreachable(base_url) from error


@contextmanager
def _partial(destination: Path) -> Iterator[Path]:
    partial = destination.with_name(f"{destination.name}.partial")
    try:
        yield partial
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
