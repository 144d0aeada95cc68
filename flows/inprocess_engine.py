"""Everything of Prefect's engine that is overridden, so that many runs share one event loop. Pinned to one version.

Prefect's engine expects a process per run: it starts two threads with a loop and a websocket for each, and takes
every interruption for a crash. tests/runs/test_engine_overrides.py fails when a new Prefect changes what is used.
"""

import asyncio
import ssl
import types
from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import prefect.client.orchestration
from anyio import CancelScope
from prefect._flow_run_suspension import FlowRunSuspensionRequest, register_flow_run_suspension_request
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.states import AwaitingRetry

# The release whose internals were read; pyproject pins the same.
PREFECT_VERSION = "3.8.8"


class Ending(Enum):
    """Why a run that works is interrupted."""

    CANCELLED = auto()
    HANDED_BACK = auto()


class InProcessEngine(AsyncFlowRunEngine[..., Any]):
    """Runs an async flow as one task among others."""

    ending: Ending | None = None

    async def work(self) -> None:
        """Run the flow to its end; its state is with the server then."""
        async with self.start():
            while self.is_running():
                async with self.run_context():
                    await self.call_flow_fn()  # type: ignore[unused-coroutine]  # its annotation says too much

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

    async def handle_crash(self, exc: BaseException) -> None:
        """Tell a cancelled run and one that is handed back from one that crashed."""
        if not isinstance(exc, asyncio.CancelledError) or self.ending is None:
            await super().handle_crash(exc)
        elif self.ending is Ending.CANCELLED:
            await self.handle_cancellation(exc)
        else:
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
