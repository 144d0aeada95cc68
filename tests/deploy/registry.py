"""A registry of images as the OCI distribution specification has it: who has no token is told where to get one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "for-everybody"


@contextmanager
def registry(*public: str) -> Iterator[str]:
    """Serve these images (`repository:tag`) to everybody; `private/` ones to nobody, `broken/` ones not at all."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            _, _, *repository, _, tag = self.path.split("/")
            name = f"{'/'.join(repository)}:{tag}"
            if self.headers["Authorization"] != f"Bearer {TOKEN}" or name.startswith("private/"):
                return self._answer(401)
            if name.startswith("broken/"):
                return self._answer(500)
            return self._answer(200 if name in public else 404)

        def do_GET(self) -> None:
            self._answer(200, json.dumps({"token": TOKEN}).encode())

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            if status == 401:
                realm = f"http://{self.headers['Host']}/token"
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="tests",scope="pull"')
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
