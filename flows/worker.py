"""`python -m flows.worker`: runs the pipeline's flow runs, many in one process.

The processes of the CPU pool import this module again under another name, so it imports next to nothing itself.
"""

from typing import NoReturn


def main() -> NoReturn:
    """Run until SIGTERM or Ctrl-C."""
    from flows.serving import serve  # noqa: PLC0415  # Prefect must not be imported into the CPU pool's processes

    serve()


if __name__ == "__main__":
    main()
