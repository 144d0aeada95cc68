"""What every answer of the page's server says to browsers: where they may load from, and who may frame it."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

_CONTENT_NAMED: Final = re.compile(r"^/static/extensions/[^?]+\?[0-9a-f]{32,64}$")
_FIXED: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Signed addresses of the bucket never leave as a referrer.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
}


def policy(bucket: str) -> str:
    """Return the content security policy.

    Bokeh compiles its templates with `new Function` and Panel loads its components from blob: addresses: without
    'unsafe-eval' and blob: the page stays blank. So this keeps data from leaving and the page from being framed; what a
    stranger has named is kept from becoming markup by never being written as markup.
    """
    own = f"'self' {bucket}".rstrip()
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            f"connect-src {own} blob: data:",
            f"img-src {own} data: blob:",
            f"media-src {own} data: blob:",
            "font-src 'self' data:",
            "worker-src 'self' blob:",
            "frame-ancestors 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "object-src 'none'",
        )
    )


def secured(bucket: Callable[[], str | None]) -> Callable[[HTTPServerRequest], OutputTransform]:
    """Return a transform for Tornado that adds the headers to all answers, errors and Panel's own files included."""

    class Secured(OutputTransform):
        def __init__(self, request: HTTPServerRequest) -> None:
            # Panel lets browsers keep what has `?v=`, and not what has the digest alone: its largest file.
            self._is_named_by_content = bool(_CONTENT_NAMED.search(request.uri or ""))

        def transform_first_chunk(
            self,
            status_code: int,
            headers: HTTPHeaders,
            chunk: bytes,
            finishing: bool,  # noqa: ARG002, FBT001  # as Tornado calls it
        ) -> tuple[int, HTTPHeaders, bytes]:
            for name, value in _FIXED.items():
                headers[name] = value
            headers["Content-Security-Policy"] = policy(bucket() or "")
            is_found = status_code in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}
            if is_found and self._is_named_by_content and "Cache-Control" not in headers:
                headers["Cache-Control"] = "public, max-age=31536000, immutable"
            headers.pop("Server", None)
            return status_code, headers, chunk

    return Secured
