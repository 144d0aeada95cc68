"""Whether this worker is fit: what the RunPod SDK asks before the first job, for HEALTHCHECK and for a look by hand."""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from gpu_tasks.runtime.fitness import fitness_checks


def main() -> int:
    """Return 0 when every check passes."""
    with tempfile.TemporaryDirectory() as scratch:
        for check in fitness_checks(Path(scratch), Path(str(files("gpu_tasks.draft").joinpath("models")))):
            check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
