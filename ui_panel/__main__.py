"""`python -m ui_panel`: the page as a process."""

import asyncio
import logging
import os
import signal

from ui_panel.settings import PageSettings


async def _serve(settings: PageSettings) -> None:
    # After the settings: what is wrong with them is told at once, and Panel takes seconds to import.
    from ui_panel.server import serve  # noqa: PLC0415

    serving = asyncio.create_task(serve(settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        if not serving.cancelled():
            raise


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = PageSettings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # httpx would log every address it asks, signed ones included.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # A belt: served pages load everything from here anyway.
    os.environ.setdefault("BOKEH_RESOURCES", "server")
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
