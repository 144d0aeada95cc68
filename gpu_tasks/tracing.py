"""Traces for whoever runs an OpenTelemetry collector: from a request through its flow to the worker, one trace.

Off until a process is given the collector's address; then nothing of this costs more than a comparison. The context
travels as a W3C `traceparent`: in a header, in a label of the run, in the job.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from gpu_tasks.contract.jobs import TRACEPARENT

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_HEADER: Final = "traceparent"
_EXPORT_MS: Final = 1000
_FLUSH_MS: Final = 1000

_provider: "TracerProvider | None" = None


def set_up(service: str, endpoint: str | None) -> None:
    """Send the spans of this process to a collector (OTLP over HTTP); without `endpoint` there are none.

    Args:
        service: How the process is named in traces.
        endpoint: Address of the collector, such as http://localhost:4318.
    """
    if endpoint is None:
        return
    # Only here: a worker without tracing needs none of it installed.
    from opentelemetry import trace  # noqa: PLC0415  # said above
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  # the same
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # the same
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # the same
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  # the same

    global _provider  # noqa: PLW0603  # OpenTelemetry's own is global, too
    _provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    _provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_MS))
    # Prefect makes spans of flows and tasks as soon as there is a provider.
    trace.set_tracer_provider(_provider)


def is_on() -> bool:
    """Tell whether this process makes spans."""
    return _provider is not None


@contextmanager
def span(name: str, *, parent: str | None = None, **attributes: str | float) -> Iterator[None]:
    """Make what happens inside a span, below `parent` or below the one that is open.

    Args:
        name: What it is.
        parent: A `traceparent` from elsewhere; one that is none is passed over.
        attributes: Facts; never a secret or a URL.
    """
    if _provider is None:
        yield
        return
    from opentelemetry import propagate  # noqa: PLC0415  # see set_up

    context = propagate.extract({_HEADER: parent}) if parent else None
    with _provider.get_tracer("lipswap").start_as_current_span(name, context=context, attributes=attributes):
        yield


def here() -> str | None:
    """Return the `traceparent` of the span that is open, None without tracing."""
    if _provider is None:
        return None
    from opentelemetry import propagate  # noqa: PLC0415  # see set_up

    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    told = carrier.get(_HEADER)
    return told if told and re.fullmatch(TRACEPARENT, told) else None


def flush() -> None:
    """Send what has not been sent; for a process that ends without asking Python."""
    if _provider is not None:
        _provider.force_flush(_FLUSH_MS)
