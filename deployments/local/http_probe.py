"""One HTTP question to a loopback service, for probes."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from pydantic import JsonValue

from deployments.local.errors import NotReady

_SECONDS = 3.0
# Loopback is never reached through a proxy, whatever the environment says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def ask(
    url: str, *, body: Mapping[str, JsonValue] | None = None, headers: Mapping[str, str] = MappingProxyType({})
) -> bytes:
    """Return the body of a 200 answer to a GET (or a POST of `body`).

    Raises:
        NotReady: refused, too slow, or another status.
    """
    return await asyncio.to_thread(_ask, url, body, headers)


def _ask(url: str, body: Mapping[str, JsonValue] | None, headers: Mapping[str, str]) -> bytes:
    request = urllib.request.Request(  # noqa: S310 - the callers' URLs are http://127.0.0.1
        url,
        data=None if body is None else json.dumps(dict(body)).encode(),
        headers={"Content-Type": "application/json", **headers},
    )
    try:
        with _DIRECT.open(request, timeout=_SECONDS) as response:
            answer = bytes(response.read())
            status = response.status
    except urllib.error.HTTPError as error:
        with error:
            raise NotReady(f"{url} answers {error.code}") from error
    except OSError as error:
        raise NotReady(f"{url}: {error}") from error
    if status != HTTPStatus.OK:
        raise NotReady(f"{url} answers {status}")
    return answer
