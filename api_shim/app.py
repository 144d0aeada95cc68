"""The app: settings in, a FastAPI application out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api_shim import (
    routes_events,
    routes_hooks,
    routes_looks,
    routes_provenance,
    routes_runs,
    routes_service,
    routes_storage,
    routes_tasks,
    routes_webhooks,
)
from api_shim.auth import RequireCaller, add_security
from api_shim.errors import add_error_handlers
from api_shim.event_stream import Streams
from api_shim.examples import add_examples
from api_shim.limits import BodyLimit, SecurityHeaders
from api_shim.metrics import Measured, Metrics
from api_shim.services import open_services
from api_shim.settings import ShimSettings
from api_shim.tracing import Traced

_DESCRIPTION = (
    "One request (driving audio, target video, optional source faces) becomes one lip-synced, face-swapped video. "
    "Every error has the body `{error, detail, stage, retryable}`."
)


ROUTERS: Final = (
    # Asked most often: routes are looked at one after the other.
    routes_runs.router,
    routes_tasks.router,
    routes_looks.router,
    routes_events.router,
    routes_webhooks.router,
    routes_hooks.router,
    routes_storage.router,
    routes_provenance.router,
    routes_service.router,
)


def create_app(settings: ShimSettings) -> FastAPI:
    """Return the application; it connects to Prefect, Redis and the bucket when it is started."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, app.state.metrics) as services:
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
        # FastAPI's own spans tell whole paths and queries, where hooks have their token and callers put secrets; ours
        # are made by Traced.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for router in ROUTERS:
        app.include_router(router)
    add_examples(app)
    add_security(app)
    add_error_handlers(app)
    # Outermost last: headers on every answer, then who calls, and only then is a body read.
    app.add_middleware(Streams)
    app.add_middleware(
        BodyLimit,
        max_bytes=settings.max_json_bytes,
        max_bytes_by_path={"/storage/upload": settings.max_upload_bytes},
        body_seconds=settings.body_seconds,
    )
    app.add_middleware(RequireCaller)
    if settings.cors_origins:
        # Before the secret: a browser asks without one whether it may ask at all.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Api-Key"],
            expose_headers=["Location", "Retry-After"],
        )
    app.add_middleware(SecurityHeaders)
    app.state.metrics = Metrics()
    app.add_middleware(Measured, metrics=app.state.metrics)
    if settings.otel_endpoint is not None:
        app.add_middleware(Traced)
    return app
