"""What the API behind the page offers, asked for once and remembered for a while: it may be replaced by a newer one."""

import time
from http import HTTPStatus

from api_shim.calls import ApiError, ClientError
from ui_panel.door import Door
from ui_panel.state import Route

_REMEMBERED_SECONDS = 60.0
_PARTS = "/storage/uploads"
_ALWAYS = frozenset({Route.CANCEL.value, Route.VERIFY.value})


class Offers:
    """One per process."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._paths: frozenset[str] = frozenset()
        self._until = 0.0
        self.bucket_origin: str | None = None

    async def routes(self) -> frozenset[Route]:
        """Return which of the routes that not every version has are there.

        Raises:
            ClientError: The service does not answer.
        """
        paths = await self._all()
        return frozenset(route for route in Route if route.value in paths)

    async def takes_parts(self) -> bool:
        """Tell whether large files can be sent in parts.

        Raises:
            ClientError: The service does not answer.
        """
        return _PARTS in await self._all()

    async def learn_bucket(self) -> str | None:
        """Return where browsers reach the bucket, None while nobody can tell."""
        if self.bucket_origin is None:
            try:
                self.bucket_origin = await self._door.bucket_origin()
            except ClientError:
                return None
        return self.bucket_origin

    async def _all(self) -> frozenset[str]:
        if time.monotonic() > self._until:
            try:
                self._paths = await self._door.routes()
            except ApiError as error:
                if error.fault.is_retryable and error.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                # It answers and does not say what it offers: then only what every version has.
                self._paths = _ALWAYS
            self._until = time.monotonic() + _REMEMBERED_SECONDS
        return self._paths
