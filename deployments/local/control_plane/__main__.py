"""`python -m deployments.local.control_plane CONFIG.json` runs one plane until SIGTERM or SIGINT."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from deployments.local.control_plane.server import control_plane
from deployments.local.control_plane.settings import ConfigError, ControlPlaneConfig, read_config

_ARGUMENTS = 2
_BAD_USAGE = 2


async def serve(config: ControlPlaneConfig, inherited: Mapping[str, str]) -> None:
    """Serve until a signal comes or the supervision fails, whose error is then raised."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, asked_to_stop.set)
    async with control_plane(config, inherited) as plane:
        stop = asyncio.create_task(asked_to_stop.wait())
        await asyncio.wait([stop, plane.supervision], return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if plane.supervision.done():
            plane.supervision.result()


def main() -> int:
    """Return 0 after an orderly stop, 2 when the configuration cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if len(sys.argv) != _ARGUMENTS:
        sys.stderr.write("usage: python -m deployments.local.control_plane CONFIG.json\n")
        return _BAD_USAGE
    try:
        config = read_config(Path(sys.argv[1]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _BAD_USAGE
    asyncio.run(serve(config, dict(os.environ)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
