"""The page's server: Panel's own, with our files, our headers and our ways in."""

import asyncio
import contextlib
import logging
import signal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import panel as pn
from bokeh.server.server import Server
from panel.io.server import get_server
from tornado.web import StaticFileHandler

from ui_panel.assets import AssetHandler, Assets
from ui_panel.door import Door
from ui_panel.examples import Examples
from ui_panel.headers import secured
from ui_panel.messages import place_asked
from ui_panel.offers import Offers
from ui_panel.packing import Packed
from ui_panel.session import Services, Session
from ui_panel.settings import PageSettings
from ui_panel.signing_in import signing_secret, way_in
from ui_panel.state import PageState, Place
from ui_panel.text import language_of
from ui_panel.uploads import (
    AbandonHandler,
    AliveHandler,
    BeginHandler,
    CompleteHandler,
    DownloadHandler,
    PartsHandler,
)
from ui_panel.watching import Watchers

_logger = logging.getLogger(__name__)

_LEARN_SECONDS: Final = 2.0
# A closed page is forgotten after at most the sum of both.
_UNUSED_SESSION_MS: Final = 10_000
_CHECK_SESSIONS_MS: Final = 10_000
# What a browser says is small: files go to the bucket.
_MAX_MESSAGE_BYTES: Final = 1024 * 1024
_UPLOAD_ID: Final = r"([A-Za-z0-9_.~-]{1,2048})"


def services_of(settings: PageSettings) -> Services:
    """Return what all pages of a process share."""
    door = Door(settings.api_base_url, secret=settings.api_secret)
    return Services(
        settings=settings,
        door=door,
        watchers=Watchers(door, poll_seconds=settings.poll_interval, silence_seconds=settings.poll_timeout),
        examples=Examples(settings.samples, door),
        offers=Offers(door),
        assets=Assets(),
    )


def server_of(services: Services) -> Server:
    """Return a server that is not started yet; it belongs to the event loop that runs now."""
    settings, sign_in = services.settings, services.settings.sign_in
    ways_in: dict[str, Any] = {}
    if sign_in.is_required:
        ways_in = {"cookie_secret": signing_secret(sign_in), "auth_provider": way_in(sign_in)}
    interrupted = signal.getsignal(signal.SIGINT)
    server: Server = get_server(
        {"/": lambda: _open(services)},
        port=settings.port,
        address=settings.host,
        websocket_origin=settings.websocket_origins,
        title="Lipswap",
        extra_patterns=_patterns(services),
        use_xheaders=settings.is_behind_proxy,
        unused_session_lifetime_milliseconds=_UNUSED_SESSION_MS,
        check_unused_sessions_milliseconds=_CHECK_SESSIONS_MS,
        websocket_max_message_size=_MAX_MESSAGE_BYTES,
        ico_path=str(Path(str(files("ui_panel"))) / "components" / "icon.svg"),
        **ways_in,
    )
    # Panel takes SIGINT for itself and would stop the loop under what runs in it.
    signal.signal(signal.SIGINT, interrupted)
    tornado = server._tornado  # noqa: SLF001  # Bokeh gives no other way to its Tornado application
    tornado.add_transform(secured(lambda: services.offers.bucket_origin))
    tornado.add_transform(Packed)
    return server


async def serve(settings: PageSettings) -> None:
    """Serve until the process is told to end."""
    services = services_of(settings)
    server = server_of(services)
    async with services.door:
        learning = asyncio.create_task(_learn_bucket(services.offers))
        server.start()
        _logger.info("The page listens on http://%s:%s", settings.host, server.port)
        try:
            await asyncio.Event().wait()
        finally:
            learning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await learning
            server.stop()


async def _learn_bucket(offers: Offers) -> None:
    while await offers.learn_bucket() is None:  # noqa: ASYNC110  # only asking tells whether the API is there
        await asyncio.sleep(_LEARN_SECONDS)


def _open(services: Services) -> object:
    """Make what one browser tab shows."""
    asked = {name: values[0].decode("utf-8", "replace") for name, values in pn.state.session_args.items() if values}
    shown = place_asked(asked)
    state = PageState(
        place=shown.place,
        task_id=shown.task_id,
        language=language_of(asked.get("lang", ""), pn.state.headers.get("Accept-Language", "")),
        user=pn.state.user or "",
    )
    document = pn.state.curdoc
    session = Session(state, services, document, is_dark=pn.state.cookies.get("lipswap_theme") == "dark")

    async def begin() -> None:
        session.start()
        if shown.place is Place.TASK:
            await session.controller.show(shown.place, shown.task_id)

    pn.state.onload(begin)
    pn.state.on_session_destroyed(lambda _context: session.close())
    return session.page


def _patterns(services: Services) -> list[tuple[Any, ...]]:
    settings = services.settings
    shared = {
        "door": services.door,
        "offers": services.offers,
        "parallel": settings.parallel_parts,
        "needs_sign_in": settings.sign_in.is_required,
    }
    patterns: list[tuple[Any, ...]] = [
        (r"/assets/([0-9a-f]+)/([A-Za-z0-9_./-]+)", AssetHandler, {"assets": services.assets}),
        (r"/door/alive", AliveHandler, shared | {"needs_sign_in": False}),
        (r"/door/uploads", BeginHandler, shared),
        (rf"/door/uploads/{_UPLOAD_ID}/parts", PartsHandler, shared),
        (rf"/door/uploads/{_UPLOAD_ID}/complete", CompleteHandler, shared),
        (rf"/door/uploads/{_UPLOAD_ID}", AbandonHandler, shared),
        (r"/door/download/([A-Za-z0-9-]{1,64})", DownloadHandler, shared),
    ]
    if settings.samples:
        samples = {"path": str(settings.samples)}
        patterns.append((r"/samples/(speech\.wav|target\.mp4|source\.jpg)", StaticFileHandler, samples))
    return patterns
