"""A circuit breaker: after failures in a row nobody asks for a while, then one asks for all."""

import time

_FAILURES_TO_OPEN = 4
_FIRST_REST_SECONDS = 2.0
_LONGEST_REST_SECONDS = 30.0


class Circuit:
    """Closed: everybody may ask. Open: nobody may. After the rest one may, whose answer decides for all.

    Each opening in a row lasts twice as long as the one before, up to half a minute.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._openings = 0
        self._open_until = 0.0

    @property
    def rest_seconds(self) -> float:
        """How long nobody should ask; zero when somebody may."""
        return max(0.0, self._open_until - time.monotonic())

    def may_ask(self) -> bool:
        """Tell whether the caller may ask now; if it is the one that asks for all, the others go on resting."""
        if self.rest_seconds > 0:
            return False
        if self._openings:
            self._open_until = time.monotonic() + self._rest()
        return True

    def succeeded(self) -> None:
        """Close it: there was an answer."""
        self._failures = self._openings = 0
        self._open_until = 0.0

    def failed(self) -> None:
        """Count a failure, and open when it is one too many."""
        self._failures += 1
        if self._failures < _FAILURES_TO_OPEN and not self._openings:
            return
        self._openings += 1
        self._failures = 0
        self._open_until = time.monotonic() + self._rest()

    def _rest(self) -> float:
        return float(min(_LONGEST_REST_SECONDS, _FIRST_REST_SECONDS * 2 ** max(0, self._openings - 1)))
