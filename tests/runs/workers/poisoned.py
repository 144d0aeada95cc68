"""The orchestrator worker, which any run with the label `poison` kills as soon as it begins."""

import os
import signal
from typing import Any


def main() -> None:
    """Poison the beginning of runs, then run as `python -m flows.worker` does."""
    from flows.run import Run  # noqa: PLC0415  # Prefect is not for the processes of the CPU pool
    from flows.worker import main as work  # noqa: PLC0415  # the same

    genuine = Run.enter

    async def enter(self: Run, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # whatever it is given
        if "poison" in self.request.labels:
            os.kill(os.getpid(), signal.SIGKILL)
        await genuine(self, *args, **kwargs)

    Run.enter = enter  # type: ignore[method-assign]  # that is the poison
    work()


# The processes of the CPU pool import this module again, under another name.
if __name__ == "__main__":
    main()
