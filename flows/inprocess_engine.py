"""Everything of Prefect that is overridden, so that many runs share one event loop. Pinned to one version.

Prefect's engine expects a process per run: it starts two threads with a loop and a websocket for each, and takes
every interruption for a crash. tests/runs/test_engine_overrides.py fails when a new Prefect changes what is used.
"""

import asyncio
import random
import ssl
import time
import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import httpx
import prefect.client.orchestration
from anyio import CancelScope
from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.states import AwaitingRetry

# The release whose internals were read; pyproject pins the same.
PREFECT_VERSION = "3.8.8"

# A server that is away is waited for this long, and asked about once a second.
_OUTAGE_SECONDS = 600.0
# What the server answers while its database is away is the same as for an error of its own, which does not pass.
_SERVER_ERROR_SECONDS = 90.0
_PAUSE_SECONDS = (0.5, 1.5)
_UNAVAILABLE: frozenset[int] = frozenset(
    {httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT}
)


class Ending(Enum):
    """Why a run that works is interrupted."""

    CANCELLED = auto()
    HANDED_BACK = auto()
    FENCED = auto()


class InProcessEngine(AsyncFlowRunEngine[..., Any]):
    """Runs an async flow as one task among others."""

    ending: Ending | None = None
    is_ours: Callable[[], Awaitable[bool]] | None = None

    async def work(self) -> None:
        """Run the flow to its end; its state is with the server then."""
        async with self.start():
            while self.is_running():
                async with self.run_context():
                    await self.call_flow_fn()  # type: ignore[unused-coroutine]  # its annotation says too much

    @property
    def has_begun(self) -> bool:
        """Tell whether the server has let this engine start the run."""
        return bool(self.flow_run and self.flow_run.state and self.flow_run.state.is_running())

    @property
    def heartbeat_seconds(self) -> int | None:
        """No heartbeat thread per run: the worker's own heartbeat tells that the process lives."""
        return None

    @contextmanager
    def setup_flow_run_suspension_request(self) -> Generator[FlowRunSuspensionRequest, None, None]:
        """Without the observer's thread and websocket per run; runs of the pipeline are never suspended."""
        if self.flow_run is None:
            raise ValueError("a flow run is set before the engine starts")
        request = self._get_flow_run_suspension_request()
        with register_flow_run_suspension_request(self.flow_run.id, request):
            request.raise_if_requested()
            yield request

    async def set_state(self, state: State[Any], force: bool = False) -> State[Any]:  # noqa: FBT001, FBT002  # Prefect's
        """Write a state, unless another worker has taken the run: it alone says how the run stands."""
        if self.ending is Ending.FENCED or (self.is_ours is not None and not await self.is_ours()):
            self.ending = Ending.FENCED
            raise Abort("Another worker has taken this run.")
        return await super().set_state(state, force=force)

    async def handle_crash(self, exc: BaseException) -> None:
        """Tell a cancelled run and one that is handed back from one that crashed."""
        if not isinstance(exc, asyncio.CancelledError) or self.ending is None:
            await super().handle_crash(exc)
        elif self.ending is Ending.CANCELLED:
            await self.handle_cancellation(exc)
        elif self.ending is Ending.HANDED_BACK:
            with CancelScope(shield=True):
                await self.set_state(AwaitingRetry(message="Its worker stopped; another one goes on."), force=True)
                self._raised = exc  # type: ignore[assignment]  # as Prefect itself does


def share_tls_context() -> None:
    """Let all Prefect clients of the process share one TLS context.

    Each client parses the file of authorities anew, 23 ms even for http://; a run makes several. Measured: 0.41 s of
    CPU per run without this, 0.12 s with it.
    """
    shared = types.ModuleType("ssl")
    shared.__dict__.update(ssl.__dict__)
    shared.__dict__["create_default_context"] = lru_cache(maxsize=8)(ssl.create_default_context)
    prefect.client.orchestration.ssl = shared  # type: ignore[attr-defined]  # a module stands in for a module


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

        return await genuine(self, request, patiently, send_args, send_kwargs, retry_codes, retry_exceptions)

    PrefectHttpxAsyncClient._send_with_retry = send_with_retry  # type: ignore[method-assign]  # noqa: SLF001  # the same


async def _sent(send: _Send, *args: Any, **kwargs: Any) -> httpx.Response:  # noqa: ANN401  # httpx' own
    began = time.monotonic()
    while True:
        try:
            response = await send(*args, **kwargs)
        except httpx.ConnectError:
            # Nothing was sent, so everything may be sent again.
            if time.monotonic() - began > _OUTAGE_SECONDS:
                raise
        else:
            patience = _OUTAGE_SECONDS if response.status_code in _UNAVAILABLE else _SERVER_ERROR_SECONDS
            if not response.is_server_error or time.monotonic() - began > patience:
                return response
            await response.aclose()
        await asyncio.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  # spreads clients, guards nothing
