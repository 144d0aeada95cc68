"""An API of before the page: it has the original service's routes and no others."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PATHS = ("/run", "/status/{task_id}", "/cancel/{task_id}", "/storage/presign", "/storage/upload", "/health")


class _Older(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the standard library's name
        if self.path == "/openapi.json":
            self._answer(200, {"openapi": "3.1.0", "paths": {path: {} for path in _PATHS}})
        else:
            self._answer(404, _fault("route_unknown" if not self.path.startswith("/status/") else "task_unknown"))

    def do_POST(self) -> None:  # the same
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(404, _fault("route_unknown"))

    def log_message(self, *_arguments: Any) -> None:  # noqa: ANN401  # as it is called
        """Say nothing."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _fault(code: str) -> dict[str, Any]:
    return {"error": code, "detail": "There is nothing at this address.", "stage": None, "retryable": False}


@contextmanager
def older_api() -> Iterator[str]:
    """Serve it; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Older)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
