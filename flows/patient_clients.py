"""What Prefect's clients of a worker's process have in common: a TLS context, patience with the server, few events.

Of Prefect's own, like flows/inprocess_engine.py; tests/runs/test_engine_overrides.py looks at both.
"""

import asyncio
import random
import ssl
import time
import types
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import httpx
import prefect.client.orchestration
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker, emit_events_to_cloud

# A server that is away is waited for this long, and asked about once a second.
_OUTAGE_SECONDS = 600.0
# What the server answers while its database is away is the same as for an error of its own, which does not pass.
_SERVER_ERROR_SECONDS = 90.0
_PAUSE_SECONDS = (0.5, 1.5)
_UNCONFIRMED_EVENTS = 50
_NOT_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)
_UNAVAILABLE: frozenset[int] = frozenset(
    {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}
)


def share_tls_context() -> None:
    """Let all Prefect clients of the process share one TLS context.

    Each client parses the file of authorities anew, 23 ms even for http://; a run makes several. Measured: 0.41 s of
    CPU per run without this, 0.12 s with it.
    """
    shared = types.ModuleType("ssl")
    shared.__dict__.update(ssl.__dict__)
    shared.__dict__["create_default_context"] = lru_cache(maxsize=8)(ssl.create_default_context)
    prefect.client.orchestration.ssl = shared  # type: ignore[attr-defined]  # a module stands in for a module


def confirm_events_often() -> None:
    """Let the server confirm every fifty events: until then they are kept, by default 700 of 5 kB (measured)."""
    if not emit_events_to_cloud():
        EventsWorker.set_client_override(PrefectEventsClient, checkpoint_every=_UNCONFIRMED_EVENTS)


_Send = Callable[..., Awaitable[httpx.Response]]


def wait_for_server() -> None:
    """Let all Prefect clients of the process wait for a server that is away.

    Prefect's own retries wait twice as long each time, a minute in all, and a client that has never been connected
    does not try again: a run that begins during a restart of the server would crash.
    """
    genuine: _Send = PrefectHttpxAsyncClient._send_with_retry  # noqa: SLF001  # there is no setting for it

    async def send_with_retry(  # noqa: PLR0913, PLR0917  # Prefect's own arguments
        self: PrefectHttpxAsyncClient,
        request: httpx.Request,
        send: _Send,
        send_args: tuple[Any, ...],
        send_kwargs: dict[str, Any],
        retry_codes: set[int] = set(),  # noqa: B006  # never changed
        retry_exceptions: tuple[type[Exception], ...] = (),
    ) -> httpx.Response:
        async def patiently(*args: Any, **kwargs: Any) -> httpx.Response:  # noqa: ANN401  # httpx' own
            return await _sent(send, *args, **kwargs)

        # Who has waited so long for a connection does not begin anew, five times.
        others = tuple(kind for kind in retry_exceptions if kind not in _NOT_CONNECTED)
        return await genuine(self, request, patiently, send_args, send_kwargs, retry_codes, others)

    PrefectHttpxAsyncClient._send_with_retry = send_with_retry  # type: ignore[method-assign]  # noqa: SLF001  # the same


async def _sent(send: _Send, *args: Any, **kwargs: Any) -> httpx.Response:  # noqa: ANN401  # httpx' own
    began = time.monotonic()
    while True:
        try:
            response = await send(*args, **kwargs)
        except _NOT_CONNECTED:
            # Nothing was sent, so everything may be sent again.
            if time.monotonic() - began > _OUTAGE_SECONDS:
                raise
        else:
            patience = _OUTAGE_SECONDS if response.status_code in _UNAVAILABLE else _SERVER_ERROR_SECONDS
            if not response.is_server_error or time.monotonic() - began > patience:
                return response
            await response.aclose()
        await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  # spreads clients, guards nothing
