"""Models that stay loaded between jobs."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

_log = logging.getLogger(__name__)

Model = TypeVar("Model")


class Weights(Protocol):
    """Where a worker's models lie."""

    def path(self, model_id: str) -> Path:
        """Return a model's verified file.

        Raises:
            FaultError: MODEL_MISSING, MODEL_CORRUPT or LICENCE_NOT_ACKNOWLEDGED.
        """
        ...


class Warm(Generic[Model]):
    """Keeps the models that were used last.

    Args:
        most: How many stay loaded: each takes memory that a job's frames need as well.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Model] = OrderedDict()

    def get(self, name: Hashable, load: Callable[[], Model]) -> Model:
        """Return a model, loaded now if it is not loaded yet. What `load` raises leaves nothing behind."""
        if name not in self._kept:
            while len(self._kept) >= self._most:
                # Before the new one is there: both might not fit.
                self._kept.popitem(last=False)
            started = time.monotonic()
            self._kept[name] = load()
            seconds = round(time.monotonic() - started, 2)
            _log.info("model loaded", extra={"facts": {"model": str(name), "seconds": seconds}})
        self._kept.move_to_end(name)
        return self._kept[name]

    def forget(self) -> None:
        """Let go of all models."""
        self._kept.clear()
