"""Ports for programs that bind them seconds after a test has chosen them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from deployments.local.layout import Reservations

# Below the ranges from which systems take the ports of outgoing connections, as the local stack's own.
_RANGE = range(10_240, 32_000)
_TRIES = 200


@contextmanager
def held_port() -> Iterator[int]:
    """Give a port that no stack and no other test on this machine chooses while the block lasts."""
    with Reservations() as held:
        yield next(port for port in random.sample(_RANGE, _TRIES) if held.take(port))


def free_port() -> int:
    """Return one that nothing listens on now."""
    with held_port() as port:
        return port
