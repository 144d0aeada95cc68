"""What Prometheus reads: how requests went, what waits, what runs took and cost.

Each process counts for itself, from its own start: sum `rate()`s over them. What is told by Prefect's events (ends of
runs) every shim hears: take one's.
"""

import time
from collections import OrderedDict
from itertools import pairwise
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpu_tasks.contract.records import RecordStage, TaskRecord

_UNMATCHED: Final = "unmatched"
# Runs whose end was counted; Prefect repeats events after a connection broke.
_MOST_KNOWN: Final = 10_000
_QUICK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
_LAGS: Final = (0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 15, 60)
_STAGES: Final = (0.1, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600)


class Metrics:
    """One per app; no two apps of one process share a number."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "lipswap_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.latency = Histogram(
            "lipswap_http_request_seconds",
            "Time to the first byte of the answer; with `wait`, the waiting included.",
            ("method", "route"),
            buckets=_QUICK,
            registry=registry,
        )
        self.listeners = Gauge("lipswap_event_listeners", "Open streams and waits for a task.", registry=registry)
        self.mirror_lag = Histogram(
            "lipswap_mirror_lag_seconds",
            "From the end of a run in Prefect to its final record in Redis.",
            buckets=_LAGS,
            registry=registry,
        )
        self.push_lag = Histogram(
            "lipswap_push_lag_seconds",
            "From the change of a record to its push to listeners.",
            buckets=_LAGS,
            registry=registry,
        )
        self.ended = Counter("lipswap_tasks_ended", "Tasks that have ended.", ("status",), registry=registry)
        self.stage_seconds = Histogram(
            "lipswap_stage_seconds", "Wall time of a stage of a task.", ("stage",), buckets=_STAGES, registry=registry
        )
        self.gpu_seconds = Counter("lipswap_gpu_seconds", "Billed seconds on GPUs.", ("stage",), registry=registry)
        self.gpu_usd = Counter("lipswap_gpu_usd", "US dollars paid for GPUs, where prices are set.", registry=registry)
        self.prefect_up = Gauge("lipswap_prefect_up", "Whether Prefect has answered just now.", registry=registry)
        self.tasks = Gauge("lipswap_tasks", "Tasks in Prefect that have not ended.", ("status",), registry=registry)
        self.oldest_seconds = Gauge(
            "lipswap_oldest_queued_seconds", "How long the task that waits longest has waited.", registry=registry
        )
        self.deliveries = Gauge(
            "lipswap_webhook_deliveries", "Webhook deliveries that Prefect remembers.", ("status",), registry=registry
        )
        self._counted: OrderedDict[tuple[str, int], None] = OrderedDict()

    def count_end(self, record: TaskRecord) -> None:
        """Count what a task that has ended took and cost; once for each of its attempts."""
        key = (record.task_id, record.attempts)
        if key in self._counted:
            return
        self._counted[key] = None
        if len(self._counted) > _MOST_KNOWN:
            self._counted.popitem(last=False)
        self.ended.labels(record.status.value).inc()
        for stage, seconds in stage_seconds(record).items():
            self.stage_seconds.labels(stage.value).observe(seconds)
        for name, gpu_seconds in record.cost.by_stage.items():
            self.gpu_seconds.labels(name).inc(max(0.0, gpu_seconds))
        self.gpu_usd.inc(max(0.0, record.cost.usd or 0.0))


def stage_seconds(record: TaskRecord) -> dict[RecordStage, float]:
    """Return the wall time of each stage of a record: from its first word to the first of the next."""
    begun: dict[RecordStage, float] = {}
    for entry in record.progress:
        begun.setdefault(entry.stage, entry.timestamp.timestamp())
    stages = sorted(begun, key=begun.__getitem__)
    return {stage: max(0.0, begun[after] - begun[stage]) for stage, after in pairwise(stages)}


class Measured:
    """ASGI middleware: counts requests by the route's path, never by the caller's."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", _UNMATCHED)
                # A method that nobody knows would be a number of its own.
                method = scope["method"] if route != _UNMATCHED else _UNMATCHED
                self._metrics.requests.labels(method, route, message["status"]).inc()
                self._metrics.latency.labels(method, route).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, send_counted)
