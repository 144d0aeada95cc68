"""Why a Prefect server did not do what it was asked, in words for whoever has set it up."""

from http import HTTPStatus
from typing import Final

import httpx

_LOGIN_REFUSED: Final = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def reason_of(error: httpx.HTTPError) -> str:
    """Return a sentence about the server, without its address, which may hold a password."""
    if not isinstance(error, httpx.HTTPStatusError):
        return f"It does not answer ({type(error).__name__})."
    if error.response.status_code in _LOGIN_REFUSED:
        return "It refuses the login; set PREFECT_API_AUTH_STRING to the server's own."
    return f"It answers with status {error.response.status_code}."
