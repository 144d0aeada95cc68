"""A host of model files over real HTTP that breaks as it is told: once per planned fault, in order."""

import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: Answer with this status and nothing else.
        location: With a redirect, where to.
        cut_after: Close the connection after so many bytes of the body.
        stated_length: What Content-Length says instead of the truth.
        omit_length: Say no length; the end of the connection is the end of the file.
        drip: Send one byte now and then, until the other side has enough.
        ignore_range: Send all although a part was asked for.
        ignore_condition: Send the part that was asked for although the file is another one by now.
        media_type: What Content-Type says.
        become: The file changes into this before the answer.
    """

    status: int = 0
    location: str = ""
    cut_after: int | None = None
    stated_length: int | None = None
    omit_length: bool = False
    drip: bool = False
    ignore_range: bool = False
    ignore_condition: bool = False
    media_type: str = "application/octet-stream"
    become: bytes = b""


@dataclass
class Host:
    """One file server. `asked` holds path and headers of every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    with_etag: bool = True
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


@contextmanager
def serving(host: Host, tls: ssl.SSLContext | None = None) -> Iterator[Host]:
    """Serve until the context ends, over https with a `tls` context."""

    class Handler(_Handler):
        serves = host

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    try:
        yield host
    finally:
        host.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:  # noqa: ANN401  # the library's signature
        """Keep the tests quiet: clients hang up on purpose."""


class _Handler(BaseHTTPRequestHandler):
    serves: Host

    def do_GET(self) -> None:  # the library's name
        host = self.serves
        host.asked.append((self.path, dict(self.headers.items())))
        fault = host.faults.pop(0) if host.faults else Fault()
        if fault.become:
            host.files[self.path] = fault.become
        content = host.files.get(self.path)
        if content is None or fault.status:
            self.send_response(fault.status or 404)
            if fault.location:
                self.send_header("Location", fault.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._send(content, fault)

    def _send(self, content: bytes, fault: Fault) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = self._start(len(content), etag, fault)
        if start > len(content):
            self.send_response(416)
            self.end_headers()
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", fault.media_type)
        if not fault.omit_length:
            stated = len(body) if fault.stated_length is None else fault.stated_length
            self.send_header("Content-Length", str(stated))
        if self.serves.with_etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if fault.drip:
            self._drip(body)
            return
        self.wfile.write(body if fault.cut_after is None else body[: fault.cut_after])

    def _drip(self, body: bytes) -> None:
        for byte in body:
            try:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
            except OSError:
                return
            if self.serves.closing.wait(0.02):
                return

    def _start(self, length: int, etag: str, fault: Fault) -> int:
        asked = self.headers.get("Range")
        if asked is None or fault.ignore_range:
            return 0
        if self.headers.get("If-Range", etag) != etag and not fault.ignore_condition:
            return 0
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        return start if start < length else length + 1

    def log_message(self, *_: Any) -> None:  # noqa: ANN401  # the library's signature
        """Keep the tests quiet."""
