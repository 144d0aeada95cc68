"""A collector of traces: takes spans as OTLP over HTTP, as any process sends them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    service: str
    name: str
    trace_id: str
    span_id: str
    # Empty for the first span of a trace.
    parent_id: str


class Collector:
    """What has been sent to `url`."""

    def __init__(self, server: ThreadingHTTPServer, sent: list[bytes]) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self._sent = sent

    def has_been_told(self, text: str) -> bool:
        """Tell whether a text stands anywhere in what was sent."""
        return any(text.encode() in body for body in tuple(self._sent))

    def spans(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace that have come so far."""
        return [span for body in tuple(self._sent) for span in _spans_in(body) if span.trace_id == trace_id]

    def above(self, span: Span) -> list[Span]:
        """Return the spans in which one lies, from the nearest on, as far as they have come."""
        by_id = {each.span_id: each for each in self.spans(span.trace_id)}
        found: list[Span] = []
        while (parent := by_id.get((found or [span])[-1].parent_id)) is not None:
            found.append(parent)
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect as long as the block lasts."""
    sent: list[bytes] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Collector(server, sent)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _spans_in(body: bytes) -> Iterator[Span]:
    told = ExportTraceServiceRequest()
    told.ParseFromString(body)
    for resource in told.resource_spans:
        facts = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                yield Span(facts.get("service.name", ""), span.name, *ids)
