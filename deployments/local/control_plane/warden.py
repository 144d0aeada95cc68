"""The warden's own process: remember the living workers, and when the plane is gone, let none outlive it."""

import sys
from typing import TextIO

from deployments.local.control_plane.processes import kill_marked


def watch(pipe: TextIO) -> int:
    """Read `+id` and `-id` lines to the pipe's end, then kill what is left; returns how many processes."""
    living: set[str] = set()
    for line in pipe:
        sign, worker_id = line[0], line[1:].strip()
        if sign == "+":
            living.add(worker_id)
        else:
            living.discard(worker_id)
    return kill_marked(living)


if __name__ == "__main__":
    watch(sys.stdin)
