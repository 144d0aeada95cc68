"""A server with another clock and a certificate that nobody trusts."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deployments.compose.first_time import make


@contextmanager
def tomorrow(folder: Path) -> Iterator[str]:
    """A server whose Date is tomorrow's, by http and by https on the same port."""
    make(folder / "tls")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_OPTIONS = do_HEAD  # noqa: N815  # the base class's names

        def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002  # the base class's
            return super().date_time_string(time.time() + 86400)

        def log_message(self, *_arguments: object) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls" / "redis.pem", folder / "tls" / "redis.key")

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            plain, address = super().get_request()
            # The first byte of TLS is 22; of a request it is a letter.
            is_tls = plain.recv(1, socket.MSG_PEEK) == b"\x16"
            return (context.wrap_socket(plain, server_side=True), address) if is_tls else (plain, address)

        def handle_error(self, *_arguments: object) -> None:
            return

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
