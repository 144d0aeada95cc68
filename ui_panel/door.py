"""The API as the page uses it: the client's calls, and those that only the page makes."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from api_shim import calls
from api_shim.client import AsyncClient
from api_shim.wire import (
    Deleted,
    FacesAnswer,
    Intent,
    PartsAnswer,
    PartsRequest,
    PresignRequest,
    PreviewAnswer,
    RunSummary,
    TaskPage,
    UploadAnswer,
    UploadBegin,
    UploadBegun,
    UploadComplete,
)
from flows.request import FacesRequest, PipelineRequest, PreviewKind
from gpu_tasks.contract.faults import Fault, FaultCode
from gpu_tasks.contract.looks import Estimate
from gpu_tasks.contract.records import TaskRecord

Answer = TypeVar("Answer", bound=BaseModel)

# A look at a film reads it first: the small flow behind these has up to two minutes.
_LOOK_SECONDS = 130.0
# The service sends a comment every 15 seconds; three of them missing is a dead connection.
_SILENCE_SECONDS = 50.0


class Door(AsyncClient):
    """One per process: all sessions share its connections."""

    async def routes(self) -> frozenset[str]:
        """Return the paths that the service documents: an older one has fewer."""
        answer = await self._send(calls.Call("GET", "/openapi.json"))
        calls.raise_for_error(answer)
        return frozenset(answer.json()["paths"])

    async def bucket_origin(self) -> str:
        """Return scheme, host and port under which browsers reach the bucket."""
        presigned = await self.presign(PresignRequest(intent=Intent.UPLOAD, content_type="video/mp4", size=1))
        url = httpx.URL(presigned.url)
        return f"{url.scheme}://{url.netloc.decode()}"

    async def look_up(self, key: str, *, filename: str | None = None) -> str:
        """Return a URL under which a browser reads `key` now, or saves it as `filename`."""
        asked = PresignRequest(intent=Intent.DOWNLOAD, key=key)
        if filename is None:
            return (await self.presign(asked)).url
        try:
            return (await self.presign(asked.model_copy(update={"filename": filename}))).url
        except calls.ApiError as error:
            # An older service gives no names: the browser takes the key's last part.
            if error.fault.code is not FaultCode.REQUEST_INVALID:
                raise
            return (await self.presign(asked)).url

    async def faces(self, target_key: str) -> FacesAnswer:
        asked = FacesRequest(target_key=target_key)
        return await self._posted("/faces", _body(asked), FacesAnswer, seconds=_LOOK_SECONDS)

    async def estimate(self, request: PipelineRequest) -> Estimate:
        return await self._posted("/estimate", _body(request), Estimate, seconds=_LOOK_SECONDS)

    async def preview(self, request: PipelineRequest, kind: PreviewKind, at_seconds: float) -> PreviewAnswer:
        body = {"request": _body(request), "kind": kind.value, "at_seconds": at_seconds}
        return await self._posted("/preview", body, PreviewAnswer, seconds=_LOOK_SECONDS)

    async def tasks(self, *, limit: int, cursor: str | None = None, status: str | None = None) -> TaskPage:
        asked = {"limit": str(limit), "cursor": cursor or "", "status": status or ""}
        params = {name: value for name, value in asked.items() if value}
        return calls.parsed(await self._send(calls.Call("GET", "/tasks", params=params)), TaskPage)

    async def rerun(self, task_id: str, changes: Mapping[str, Any]) -> RunSummary:
        return await self._posted(f"/tasks/{_quoted(task_id)}/rerun", dict(changes), RunSummary)

    async def delete(self, task_id: str) -> Deleted:
        return calls.parsed(await self._send(calls.Call("DELETE", f"/tasks/{_quoted(task_id)}")), Deleted)

    async def begin_upload(self, asked: UploadBegin) -> UploadBegun:
        return await self._posted("/storage/uploads", asked.model_dump(mode="json", exclude_none=True), UploadBegun)

    async def upload_parts(self, upload_id: str, asked: PartsRequest) -> PartsAnswer:
        path = f"/storage/uploads/{_quoted(upload_id)}/parts"
        return await self._posted(path, asked.model_dump(mode="json"), PartsAnswer)

    async def complete_upload(self, upload_id: str, asked: UploadComplete) -> UploadAnswer:
        path = f"/storage/uploads/{_quoted(upload_id)}/complete"
        # The bucket joins the parts, and the service reads them when a digest is to be checked.
        return await self._posted(path, asked.model_dump(mode="json"), UploadAnswer, seconds=calls.UPLOAD_SECONDS)

    async def abandon_upload(self, upload_id: str) -> None:
        calls.raise_for_error(await self._send(calls.Call("DELETE", f"/storage/uploads/{_quoted(upload_id)}")))

    async def events(self, task_id: str) -> AsyncIterator[TaskRecord]:
        """Yield the record now and whenever it has changed, until it is final or the connection ends.

        Raises:
            ApiError: The service answered with an error.
            ApiUnreachableError: It does not answer, or has fallen silent.
        """
        timeout = httpx.Timeout(_SILENCE_SECONDS, connect=calls.CONNECT_SECONDS)
        try:
            async with self._http.stream("GET", f"/events/{_quoted(task_id)}", timeout=timeout) as answer:
                if not answer.is_success:
                    await answer.aread()
                calls.raise_for_error(answer)
                event = ""
                async for line in answer.aiter_lines():
                    name, _, value = line.partition(":")
                    if name == "event":
                        event = value.strip()
                    elif name == "data" and event == "record":
                        yield _record(value, answer.status_code)
        except httpx.TransportError as error:
            raise calls.unreachable(self.base_url) from error

    async def _posted(
        self, path: str, body: dict[str, Any], kind: type[Answer], *, seconds: float = calls.REQUEST_SECONDS
    ) -> Answer:
        return calls.parsed(await self._send(calls.Call("POST", path, json=body, seconds=seconds)), kind)


def _record(data: str, status: int) -> TaskRecord:
    try:
        return TaskRecord.model_validate(json.loads(data))
    except (ValidationError, ValueError) as error:
        fault = Fault(code=FaultCode.INTERNAL, detail="The answer is no record.")
        raise calls.ApiError(fault, status=status) from error


def _body(asked: BaseModel) -> dict[str, Any]:
    # What is at its default is left out, as in `run`: an older service has not heard of every field.
    return asked.model_dump(mode="json", exclude_defaults=True)


def _quoted(part: str) -> str:
    return quote(part, safe="")
