"""Servers of a few answers, each in a thread, for what stands around the page."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class JsonHandler(BaseHTTPRequestHandler):
    def get(self) -> None:
        self.answer(404, {})

    def post(self) -> None:
        self.answer(404, {})

    def do_GET(self) -> None:  # the standard library's name
        self.get()

    def do_POST(self) -> None:  # the same
        self.post()

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_arguments: Any) -> None:  # noqa: ANN401  # as it is called
        """Say nothing."""


@contextmanager
def serving(handler: type[JsonHandler], port: int = 0) -> Iterator[str]:
    """Serve it; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
