"""Several frames through a network at once, as many as its memory holds."""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gpu_tasks.contract.faults import FaultCode, FaultError
from gpu_tasks.faces.arrays import Floats

_log = logging.getLogger(__name__)


class Batches:
    """Runs batches of one size, which is halved for good when memory runs out.

    A short batch is filled up with its last row: an equal shape takes an equal way through the network, so that a
    frame's pixels do not depend on which frames it came with, and segments are what the whole would be.

    Args:
        size: Rows at once, at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, forward: Callable[..., Floats], *inputs: NDArray[np.generic]) -> Floats:
        """Return what `forward` makes of any number of rows, at least one.

        Args:
            forward: Takes one batch of each input and returns as many rows; raises MemoryError when they do not fit.
            inputs: (n, ...) each, the same n.

        Raises:
            FaultError: OUT_OF_MEMORY when not even one row fits.
        """
        made: list[Floats] = []
        count, done = len(inputs[0]), 0
        while done < count:
            rows = min(self.size, count - done)
            batch = [_filled(values[done : done + rows], self.size) for values in inputs]
            try:
                made.append(forward(*batch)[:rows])
            except MemoryError as error:
                if self.size == 1:
                    raise FaultError(FaultCode.OUT_OF_MEMORY, "Not even one frame at a time fits.") from error
                self.size //= 2
                _log.warning("out of memory", extra={"facts": {"frames_at_once": self.size}})
                continue
            done += rows
        return np.concatenate(made)


def _filled(rows: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
