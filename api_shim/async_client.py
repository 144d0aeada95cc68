"""The asynchronous client; see api_shim.client."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

from api_shim import calls, large_files
from api_shim.calling import (
    FOLLOW_SECONDS,
    LONGEST_WAIT_SECONDS,
    Kind,
    answered_by,
    authorization,
    next_wait,
    partial_file,
    upload_call,
)
from api_shim.calls import ApiError, ApiUnreachableError, Model, TaskQuery
from api_shim.hearing import SILENCE_SECONDS, EventReader
from api_shim.wire import (
    Deleted,
    DeliveryAnswer,
    FacesAnswer,
    Intent,
    PartsAnswer,
    PartsRequest,
    PresignAnswer,
    PresignRequest,
    PreviewAnswer,
    Readiness,
    RunSummary,
    SentPart,
    TaskPage,
    UploadAnswer,
    UploadBegin,
    UploadBegun,
    UploadComplete,
)
from flows.request import PipelineRequest, PreviewKind
from gpu_tasks.contract.credentials import Verdict
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.records import TaskRecord


class AsyncClient:
    """Calls the API; every method may raise ApiError or ApiUnreachableError. See Client."""

    def __init__(
        self, base_url: str, *, secret: SecretStr | None = None, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._silence_seconds = silence_seconds
        self._http = httpx.AsyncClient(base_url=self.base_url, headers=authorization(secret))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def run(self, request: PipelineRequest, *, idempotency_key: str | None = None) -> RunSummary:
        """See Client.run."""
        return await self._ask(calls.run_call(request, idempotency_key))

    async def status(self, task_id: str, *, wait_seconds: float | None = None) -> TaskRecord:
        """See Client.status."""
        return await self._ask(calls.status_call(task_id, wait_seconds))

    async def wait(self, task_id: str, *, timeout: float) -> TaskRecord:  # noqa: ASYNC109  # as in Client
        """See Client.wait."""
        deadline = time.monotonic() + timeout
        while True:
            record = await self.status(task_id, wait_seconds=next_wait(deadline, LONGEST_WAIT_SECONDS))
            if record.status.is_final or time.monotonic() >= deadline:
                return calls.ended(record, timeout)

    async def follow(self, task_id: str, *, timeout: float) -> AsyncIterator[TaskRecord]:  # noqa: ASYNC109  # as in Client
        """See Client.follow."""
        deadline = time.monotonic() + timeout
        record = await self.status(task_id)
        yield record
        while not record.status.is_final:
            # Pushed as long as that lasts; then a look, for services and proxies that let no events through.
            with suppress(ApiError, ApiUnreachableError):
                async for pushed in self._pushed(task_id, record.revision, deadline):
                    record = pushed
                    yield record
            if record.status.is_final:
                return
            newer = await self.status(task_id, wait_seconds=next_wait(deadline, FOLLOW_SECONDS))
            if newer.revision != record.revision or newer.status.is_final:
                record = newer
                yield record
            if time.monotonic() >= deadline:
                calls.ended(record, timeout)

    async def cancel(self, task_id: str) -> RunSummary:
        """See Client.cancel."""
        return await self._ask(calls.cancel_call(task_id))

    async def upload(self, path: Path, *, kind: Kind) -> UploadAnswer:
        """See Client.upload."""
        with await asyncio.to_thread(path.open, "rb") as stream:
            return await self._ask(upload_call(stream, path, kind))

    async def presign(self, asked: PresignRequest) -> PresignAnswer:
        """See Client.presign."""
        return await self._ask(calls.presign_call(asked))

    async def download(self, key: str, destination: Path) -> None:
        """See Client.download."""
        presigned = await self.presign(PresignRequest(intent=Intent.DOWNLOAD, key=key))
        with answered_by(self.base_url), partial_file(destination) as partial:
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
        return await self._ask(calls.verify_call(key))

    async def list_tasks(self, asked: TaskQuery | None = None) -> TaskPage:
        """See Client.list_tasks."""
        return await self._ask(calls.list_call(asked or TaskQuery()))

    async def rerun(self, task_id: str, changes: Mapping[str, Any]) -> RunSummary:
        """See Client.rerun."""
        return await self._ask(calls.rerun_call(task_id, changes))

    async def delete(self, task_id: str) -> Deleted:
        """See Client.delete."""
        return await self._ask(calls.delete_call(task_id))

    async def find_faces(self, target_key: str, *, at_seconds: float | None = None) -> FacesAnswer:
        """See Client.find_faces."""
        return await self._ask(calls.faces_call(target_key, at_seconds))

    async def estimate(self, request: PipelineRequest) -> Estimate:
        """See Client.estimate."""
        return await self._ask(calls.estimate_call(request))

    async def preview(self, request: PipelineRequest, kind: PreviewKind, at_seconds: float) -> PreviewAnswer:
        """See Client.preview."""
        return await self._ask(calls.preview_call(request, kind, at_seconds))

    async def deliveries(self, task_id: str) -> tuple[DeliveryAnswer, ...]:
        """See Client.deliveries."""
        return (await self._ask(calls.deliveries_call(task_id))).deliveries

    async def replay(self, task_id: str, delivery_id: str) -> DeliveryAnswer:
        """See Client.replay."""
        return await self._ask(calls.replay_call(task_id, delivery_id))

    async def begin_upload(self, asked: UploadBegin) -> UploadBegun:
        """See Client.begin_upload."""
        return await self._ask(calls.begin_upload_call(asked))

    async def upload_parts(self, upload_id: str, asked: PartsRequest) -> PartsAnswer:
        """See Client.upload_parts."""
        return await self._ask(calls.upload_parts_call(upload_id, asked))

    async def complete_upload(self, upload_id: str, asked: UploadComplete) -> UploadAnswer:
        """See Client.complete_upload."""
        return await self._ask(calls.complete_upload_call(upload_id, asked))

    async def abandon_upload(self, upload_id: str) -> None:
        """See Client.abandon_upload."""
        await self._ask(calls.abandon_upload_call(upload_id))

    async def send_parts(self, path: Path, begun: UploadBegun) -> UploadAnswer:
        """See Client.send_parts."""
        there = (await self.upload_parts(begun.upload_id, PartsRequest())).uploaded
        sent = [SentPart(part_number=part.part_number, etag=part.etag) for part in there]
        # Not with our own client: the bucket is not given the secret.
        with await asyncio.to_thread(path.open, "rb") as file:
            async with httpx.AsyncClient(timeout=calls.UPLOAD_SECONDS) as bucket:
                for numbers in large_files.missing(begun, sent):
                    for part in (await self.upload_parts(begun.upload_id, PartsRequest(part_numbers=numbers))).parts:
                        chunk = await asyncio.to_thread(large_files.read, file, begun, part)
                        with answered_by(self.base_url):
                            answer = await bucket.put(part.url, content=chunk, headers=part.headers)
                        sent.append(large_files.taken(answer, part))
        return await self.complete_upload(begun.upload_id, large_files.complete(sent))

    async def events(self, task_id: str, *, seen: int | None = None) -> AsyncIterator[TaskRecord]:
        """See Client.events."""
        async for record in self._pushed(task_id, seen, math.inf):
            yield record

    async def ready(self) -> Readiness:
        """See Client.ready."""
        return await self._ask(calls.ready_call())

    async def _pushed(self, task_id: str, seen: int | None, deadline: float) -> AsyncIterator[TaskRecord]:
        """See Client._pushed."""
        call, reader = calls.events_call(task_id, seen), EventReader()
        silence = httpx.Timeout(next_wait(deadline, self._silence_seconds), connect=calls.CONNECT_SECONDS)
        with answered_by(self.base_url):
            async with self._http.stream("GET", call.path, headers=dict(call.headers), timeout=silence) as answer:
                if not answer.is_success:
                    await answer.aread()
                calls.raise_for_error(answer)
                async for line in answer.aiter_lines():
                    heard = reader.take(line)
                    if (heard is not None and heard.is_end) or time.monotonic() >= deadline:
                        return
                    if heard is not None and heard.record is not None:
                        yield heard.record

    async def _ask(self, call: calls.Call[Model]) -> Model:
        with answered_by(self.base_url):
            return calls.parsed(call, await self._http.request(call.method, call.path, **call.options()))
