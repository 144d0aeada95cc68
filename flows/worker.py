"""`python -m flows.worker`: runs the pipeline's flow runs, many in one process.

The processes of the CPU pool import this module again under another name, so it imports next to nothing itself.
"""

from typing import NoReturn


def main() -> NoReturn:
    """Run until SIGTERM or Ctrl-C."""
    from flows.inprocess_worker import InProcessWorker  # noqa: PLC0415  # Prefect is not for the CPU pool's processes
    from flows.pools import INPROCESS_POOL  # noqa: PLC0415  # the same
    from flows.serving import serve  # noqa: PLC0415  # the same

    serve(InProcessWorker(INPROCESS_POOL))


if __name__ == "__main__":
    main()
