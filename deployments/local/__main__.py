"""`python -m deployments.local` runs a stack in the foreground until a signal, and says in one line that it is up."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from blocks.settings import WorkerType
from deployments.local.errors import StackError
from deployments.local.foreground import stopped_by_signals
from deployments.local.layout import PREFERRED_PORTS
from deployments.local.services import ServiceName
from deployments.local.stack import EVERYTHING, Stack, StackSettings


async def serve(settings: StackSettings) -> None:
    """Run the stack until a signal.

    Raises:
        StackError: it could not start, or one service died too often.
    """
    async with stopped_by_signals(), Stack(settings) as stack:
        logging.getLogger(__name__).info("up: %s", stack.addresses.api_url)
        raise await stack.until_gave_up()


def main() -> int:
    """Return 0 after a signal, 1 when the stack could not start or go on."""
    parser = argparse.ArgumentParser(prog="python -m deployments.local")
    parser.add_argument("--data-directory", type=Path, default=Path(".lipswap"))
    parser.add_argument("--part", type=ServiceName, action="append", help="one service; may be given again")
    parser.add_argument("--worker-type", type=WorkerType, default=WorkerType.INPROCESS)
    parser.add_argument("--any-ports", action="store_true", help="prefer no port numbers")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = StackSettings(
        data_directory=arguments.data_directory,
        parts=frozenset(arguments.part or EVERYTHING),
        worker_type=arguments.worker_type,
        preferred_ports={} if arguments.any_ports else PREFERRED_PORTS,
    )
    try:
        asyncio.run(serve(settings))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
