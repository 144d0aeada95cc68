"""RunPod's documented rate limits: requests per ten seconds and at once, per operation of an endpoint."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deployments.local.control_plane.messages import Throttled
from deployments.local.control_plane.settings import Operation, RateLimit

_WINDOW_SECONDS = 10.0


class RateLimiter:
    """A sliding window. The documented rise of the limit with the number of workers is not emulated."""

    def __init__(self, limits: Mapping[Operation, RateLimit]) -> None:
        self._limits = limits
        self._seen: defaultdict[Operation, deque[float]] = defaultdict(deque)
        self._inside: Counter[Operation] = Counter()

    @contextmanager
    def admit(self, operation: Operation) -> Iterator[None]:
        """Count one request for as long as it lasts.

        Raises:
            Throttled: one of the operation's two limits is reached.
        """
        self._refuse_excess(operation)
        self._inside[operation] += 1
        try:
            yield
        finally:
            self._inside[operation] -= 1

    def _refuse_excess(self, operation: Operation) -> None:
        limit = self._limits.get(operation)
        if limit is None:
            return
        now, seen = time.monotonic(), self._seen[operation]
        while seen and now - seen[0] > _WINDOW_SECONDS:
            seen.popleft()
        if len(seen) >= limit.per_ten_seconds:
            raise Throttled(f"more than {limit.per_ten_seconds} {operation} requests in 10 s")
        if limit.concurrent is not None and self._inside[operation] >= limit.concurrent:
            raise Throttled(f"more than {limit.concurrent} {operation} requests at once")
        seen.append(now)
