"""The service about itself: health, readiness, documentation that needs no other server."""

from functools import cache
from http import HTTPStatus
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api_shim.errors import responses
from api_shim.health import readiness
from api_shim.services import Provided
from api_shim.wire import Health, Readiness

router = APIRouter(tags=["service"])

_PAGE_FILES = {"page.js": "text/javascript", "page.css": "text/css"}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/health")
async def health() -> Health:
    """Tell that the process is alive."""
    return Health()


@router.get("/health/ready", responses={503: {"model": Readiness, "description": "A required dependency is down"}})
async def ready(services: Provided, response: Response) -> Readiness:
    """Tell whether requests can be served, and what is missing if not."""
    found = await readiness(services.settings, services.runs, services.store, services.bucket)
    if found.status == "unready":
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return found


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Numbers for Prometheus", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **responses(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS),
    },
)
async def metrics(services: Provided) -> Response:
    """Tell how requests went, what waits, what runs took and cost."""
    await services.queue_looks.look()
    return Response(generate_latest(services.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """Show the OpenAPI document; nothing is loaded from another server."""
    return Response(_page_file("index.html"), media_type="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})


@router.get("/docs/page.js", include_in_schema=False)
async def docs_script() -> Response:
    """Return the page's script."""
    return Response(_page_file("page.js"), media_type=_PAGE_FILES["page.js"])


@router.get("/docs/page.css", include_in_schema=False)
async def docs_style() -> Response:
    """Return the page's style."""
    return Response(_page_file("page.css"), media_type=_PAGE_FILES["page.css"])


@cache
def _page_file(name: str) -> bytes:
    return files("api_shim").joinpath("docs_page", name).read_bytes()
