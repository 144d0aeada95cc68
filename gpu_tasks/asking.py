"""Asking a server for a file, safely: http and https only, no redirect into the open, nothing taken for granted."""

import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPResponse
from typing import IO, Final
from urllib.parse import urlsplit

SCHEMES: Final = frozenset({"http", "https"})


class RefusedError(Exception):
    """The address will not give this file. The message says why, without the address: it may hold a signature."""


class InterruptedTransferError(Exception):
    """The connection ended early or was never made; trying again may help."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Hosts of releases redirect to their stores; what was asked over https is not answered over http."""

    def redirect_request(  # noqa: PLR0913, PLR0917  # the library's signature
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        # The library itself follows to http, https and ftp only, and ftp has no handler here.
        if urlsplit(newurl).scheme not in SCHEMES or (req.type == "https" and not newurl.startswith("https:")):
            raise RefusedError("it redirects to no address that may be followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # passed through


def open_safely(proxies: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Return an opener that knows http and https only: no files, no ftp, no environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(dict(proxies)),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _SafeRedirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def place_of(response: HTTPResponse) -> tuple[int, int | None]:
    """Return where the answer's first byte belongs, and the length of the whole file where it is said.

    Raises:
        RefusedError: It is no file: a part of unknown place, or a web page.
    """
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        span, _, whole = rest.partition("/")
        first = span.partition("-")[0]
        if unit != "bytes" or not first.isdecimal():
            raise RefusedError("it sends a part without saying which")
        return int(first), int(whole) if whole.isdecimal() else None
    if response.headers.get_content_type() == "text/html":
        raise RefusedError("it answers with a web page")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def strong_etag(response: HTTPResponse) -> str | None:
    """Return the name that the server gives to exactly these bytes, where it gives one."""
    etag = response.headers.get("ETag")
    # RFC 9110, 13.1.5: only a strong name of the content may guard a range.
    return etag if etag and etag.startswith('"') else None
