"""The API as the page uses it: the client's calls, and what only a page asks."""

from typing import Any

import httpx
from pydantic import BaseModel

from api_shim import calls
from api_shim.client import AsyncClient
from api_shim.wire import Intent, PresignRequest
from gpu_tasks.contract.faults import FaultCode


class _Document(BaseModel):
    paths: dict[str, Any]


class Door(AsyncClient):
    """One per process: all sessions share its connections."""

    async def routes(self) -> frozenset[str]:
        """Return the paths that the service documents: an older one has fewer."""
        return frozenset((await self._ask(calls.Call("GET", "/openapi.json", _Document))).paths)

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
