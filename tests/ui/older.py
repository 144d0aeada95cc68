"""An API of before the page: it has the original service's routes and no others."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.ui.small_servers import JsonHandler, serving

_PATHS = ("/run", "/status/{task_id}", "/cancel/{task_id}", "/storage/presign", "/storage/upload", "/health")


class _Older(JsonHandler):
    def get(self) -> None:
        if self.path == "/openapi.json":
            self.answer(200, {"openapi": "3.1.0", "paths": {path: {} for path in _PATHS}})
        else:
            self.answer(404, _fault("route_unknown" if not self.path.startswith("/status/") else "task_unknown"))

    def post(self) -> None:
        self.body()
        self.answer(404, _fault("route_unknown"))


def _fault(code: str) -> dict[str, Any]:
    return {"error": code, "detail": "There is nothing at this address.", "stage": None, "retryable": False}


@contextmanager
def older_api(port: int = 0) -> Iterator[str]:
    """Serve it; yields its address."""
    with serving(_Older, port) as url:
        yield url
