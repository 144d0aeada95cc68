"""The app: settings in, a FastAPI application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api_shim import routes_events, routes_provenance, routes_runs, routes_service, routes_storage
from api_shim.auth import RequireSecret
from api_shim.errors import add_error_handlers
from api_shim.limits import BodyLimit, SecurityHeaders
from api_shim.services import open_services
from api_shim.settings import ShimSettings

_DESCRIPTION = (
    "One request (driving audio, target video, optional source faces) becomes one lip-synced, face-swapped video. "
    "Every error has the body `{error, detail, stage, retryable}`."
)


def create_app(settings: ShimSettings) -> FastAPI:
    """Return the application; it connects to Prefect, Redis and the bucket when it is started."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="Lipswap",
        description=_DESCRIPTION,
        version=version("lipswap"),
        lifespan=lifespan,
        # FastAPI's own page loads its scripts from another server; routes_service has one that does not.
        docs_url=None,
        redoc_url=None,
    )
    for router in (
        routes_runs.router,
        routes_events.router,
        routes_storage.router,
        routes_provenance.router,
        routes_service.router,
    ):
        app.include_router(router)
    add_error_handlers(app)
    # Outermost last: headers on every answer, then the secret, and only then is a body read.
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_json_bytes,
        max_bytes_by_path={"/storage/upload": settings.max_upload_bytes},
    )
    app.add_middleware(RequireSecret, secret=settings.api_secret)
    app.add_middleware(SecurityHeaders)
    return app
