"""The Python client of the API, synchronous and asynchronous: the same methods under the same names.

with Client("http://127.0.0.1:8000") as client:
    target = client.upload(Path("target.mp4"), kind="video")
    audio = client.upload(Path("speech.wav"), kind="audio")
    task = client.run(PipelineRequest(target_key=target.key, audio_key=audio.key))
    for record in client.follow(task.task_id, timeout=600):
        print(record.percent, record.stage)
    client.download(record.result.output_key, Path("result.mp4"))
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

from api_shim import calls, large_files
from api_shim.async_client import AsyncClient
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
from api_shim.calls import ApiError, ApiUnreachableError, ClientError, Model, NotEndedError, TaskQuery
from api_shim.hearing import SILENCE_SECONDS, EventReader
from api_shim.webhook_verification import WebhookVerificationError, verify_webhook
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

__all__ = [
    "ApiError",
    "ApiUnreachableError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Kind",
    "NotEndedError",
    "TaskQuery",
    "WebhookVerificationError",
    "verify_webhook",
]


class Client:
    """Calls the API; every method may raise ApiError or ApiUnreachableError.

    Args:
        base_url: Of the service.
        secret: The shared secret or an API key.
        silence_seconds: A stream of events that says nothing for so long counts as broken.
    """

    def __init__(
        self, base_url: str, *, secret: SecretStr | None = None, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._silence_seconds = silence_seconds
        self._http = httpx.Client(base_url=self.base_url, headers=authorization(secret))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def run(self, request: PipelineRequest, *, idempotency_key: str | None = None) -> RunSummary:
        """Start a task. With `idempotency_key` a repeated call gives the same task."""
        return self._ask(calls.run_call(request, idempotency_key))

    def status(self, task_id: str, *, wait_seconds: float | None = None) -> TaskRecord:
        """Return the record now, or as soon as the task ends and at the latest after `wait_seconds`."""
        return self._ask(calls.status_call(task_id, wait_seconds))

    def wait(self, task_id: str, *, timeout: float) -> TaskRecord:
        """Return the final record.

        Raises:
            NotEndedError: The task has not ended after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            record = self.status(task_id, wait_seconds=next_wait(deadline, LONGEST_WAIT_SECONDS))
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
            # Pushed as long as that lasts; then a look, for services and proxies that let no events through.
            with suppress(ApiError, ApiUnreachableError):
                for pushed in self._pushed(task_id, record.revision, deadline):
                    record = pushed
                    yield record
            if record.status.is_final:
                return
            newer = self.status(task_id, wait_seconds=next_wait(deadline, FOLLOW_SECONDS))
            if newer.revision != record.revision or newer.status.is_final:
                record = newer
                yield record
            if time.monotonic() >= deadline:
                calls.ended(record, timeout)

    def cancel(self, task_id: str) -> RunSummary:
        """Ask for the end of a task."""
        return self._ask(calls.cancel_call(task_id))

    def upload(self, path: Path, *, kind: Kind) -> UploadAnswer:
        """Store a file for use in a request."""
        with path.open("rb") as stream:
            return self._ask(upload_call(stream, path, kind))

    def presign(self, asked: PresignRequest) -> PresignAnswer:
        """Return a URL for direct transfer to or from the bucket."""
        return self._ask(calls.presign_call(asked))

    def download(self, key: str, destination: Path) -> None:
        """Fetch an object, directly from the bucket; `destination` appears only when it is complete."""
        presigned = self.presign(PresignRequest(intent=Intent.DOWNLOAD, key=key))
        # Not with our own client: the bucket is not given the secret.
        with (
            answered_by(self.base_url),
            partial_file(destination) as partial,
            httpx.stream("GET", presigned.url, timeout=calls.REQUEST_SECONDS) as answer,
            partial.open("wb") as file,
        ):
            calls.raise_for_error(answer)
            for chunk in answer.iter_bytes():
                file.write(chunk)

    def verify(self, key: str) -> Verdict:
        """Return whose credential a stored file carries, and whether picture, sound and index are as signed."""
        return self._ask(calls.verify_call(key))

    def list_tasks(self, asked: TaskQuery | None = None) -> TaskPage:
        """Return a page of tasks, newest first; its `next_cursor` asks for the next."""
        return self._ask(calls.list_call(asked or TaskQuery()))

    def rerun(self, task_id: str, changes: Mapping[str, Any]) -> RunSummary:
        """Start a task like an earlier one, with some fields of its request changed."""
        return self._ask(calls.rerun_call(task_id, changes))

    def delete(self, task_id: str) -> Deleted:
        """Delete a task that has ended, with what only it refers to."""
        return self._ask(calls.delete_call(task_id))

    def find_faces(self, target_key: str, *, at_seconds: float | None = None) -> FacesAnswer:
        """Return the faces of a target, for choosing who is changed."""
        return self._ask(calls.faces_call(target_key, at_seconds))

    def estimate(self, request: PipelineRequest) -> Estimate:
        """Return how long a request would take and what it would cost."""
        return self._ask(calls.estimate_call(request))

    def preview(self, request: PipelineRequest, kind: PreviewKind, at_seconds: float) -> PreviewAnswer:
        """Return a frame or three seconds of the result as the draft engine makes it."""
        return self._ask(calls.preview_call(request, kind, at_seconds))

    def deliveries(self, task_id: str) -> tuple[DeliveryAnswer, ...]:
        """Return what was told of a task to its webhook, and what could not be told."""
        return self._ask(calls.deliveries_call(task_id)).deliveries

    def replay(self, task_id: str, delivery_id: str) -> DeliveryAnswer:
        """Deliver a webhook again."""
        return self._ask(calls.replay_call(task_id, delivery_id))

    def begin_upload(self, asked: UploadBegin) -> UploadBegun:
        """Announce a large file; `send_parts` sends it."""
        return self._ask(calls.begin_upload_call(asked))

    def upload_parts(self, upload_id: str, asked: PartsRequest) -> PartsAnswer:
        """Return where parts go, and which have come."""
        return self._ask(calls.upload_parts_call(upload_id, asked))

    def complete_upload(self, upload_id: str, asked: UploadComplete) -> UploadAnswer:
        """Put the parts together."""
        return self._ask(calls.complete_upload_call(upload_id, asked))

    def abandon_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts."""
        self._ask(calls.abandon_upload_call(upload_id))

    def send_parts(self, path: Path, begun: UploadBegun) -> UploadAnswer:
        """Send what has not come yet of a large file; called again after an interruption it goes on where it was."""
        there = self.upload_parts(begun.upload_id, PartsRequest()).uploaded
        sent = [SentPart(part_number=part.part_number, etag=part.etag) for part in there]
        # Not with our own client: the bucket is not given the secret.
        with path.open("rb") as file, httpx.Client(timeout=calls.UPLOAD_SECONDS) as bucket:
            for numbers in large_files.missing(begun, sent):
                for part in self.upload_parts(begun.upload_id, PartsRequest(part_numbers=numbers)).parts:
                    chunk = large_files.read(file, begun, part)
                    with answered_by(self.base_url):
                        sent.append(large_files.taken(bucket.put(part.url, content=chunk, headers=part.headers), part))
        return self.complete_upload(begun.upload_id, large_files.complete(sent))

    def events(self, task_id: str, *, seen: int | None = None) -> Iterator[TaskRecord]:
        """Yield the record now and after every change, as they are pushed, until the end or a broken connection.

        Args:
            task_id: Of the task.
            seen: The revision of the last record that is known; it is not yielded again.
        """
        yield from self._pushed(task_id, seen, math.inf)

    def ready(self) -> Readiness:
        """Return which dependencies of the service answer; `unready` is an answer, too."""
        return self._ask(calls.ready_call())

    def _pushed(self, task_id: str, seen: int | None, deadline: float) -> Iterator[TaskRecord]:
        """Yield what is pushed before the deadline; a stream that says nothing is left a little later."""
        call, reader = calls.events_call(task_id, seen), EventReader()
        silence = httpx.Timeout(next_wait(deadline, self._silence_seconds), connect=calls.CONNECT_SECONDS)
        with (
            answered_by(self.base_url),
            self._http.stream("GET", call.path, headers=dict(call.headers), timeout=silence) as answer,
        ):
            if not answer.is_success:
                answer.read()
            calls.raise_for_error(answer)
            for line in answer.iter_lines():
                heard = reader.take(line)
                if (heard is not None and heard.is_end) or time.monotonic() >= deadline:
                    return
                if heard is not None and heard.record is not None:
                    yield heard.record

    def _ask(self, call: calls.Call[Model]) -> Model:
        with answered_by(self.base_url):
            return calls.parsed(call, self._http.request(call.method, call.path, **call.options()))
