"""How simulated GPU workers are started, in place of the real ones."""

import sys
from pathlib import Path

from gpu_tasks.contract.jobs import Stage

_WORKER = Path(__file__).with_name("worker.py")


def simulated(stage: Stage, *, seconds: float, concurrency: int = 16) -> tuple[str, ...]:
    """Return the command of a worker that takes `seconds` per job, `concurrency` jobs at once."""
    return (sys.executable, str(_WORKER), stage.value, str(seconds), str(concurrency))
