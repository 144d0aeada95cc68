"""What flows/inprocess_engine.py takes from the inside of Prefect is still there; a new release is tried here first."""

import inspect
import ssl
from importlib.metadata import version

import prefect.client.orchestration
from prefect import flow_engine
from prefect.client.orchestration import PrefectClient
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.utilities.engine import capture_sigterm
from prefect.workers.base import BaseWorker

from flows.inprocess_engine import PREFECT_VERSION, InProcessEngine, share_tls_context
from flows.inprocess_worker import InProcessWorker


def test_prefect_is_the_release_whose_internals_were_read() -> None:
    assert version("prefect") == PREFECT_VERSION


def test_what_the_engine_overrides_exists_in_its_base() -> None:
    for name in ("heartbeat_seconds", "setup_flow_run_suspension_request", "handle_crash"):
        assert name in InProcessEngine.__dict__
        assert inspect.getattr_static(AsyncFlowRunEngine, name)


def test_the_engines_loop_is_written_as_prefect_writes_it() -> None:
    loop = inspect.getsource(flow_engine.run_flow_async)
    for line in (
        "async with engine.start():",
        "while engine.is_running():",
        "async with engine.run_context():",
        "await engine.call_flow_fn()",
    ):
        assert line in loop


def test_a_crash_and_a_cancellation_are_still_told_apart_by_the_overridden_method() -> None:
    start = inspect.getsource(AsyncFlowRunEngine.initialize_run)
    assert "await self.handle_crash(exc)" in start
    assert inspect.iscoroutinefunction(AsyncFlowRunEngine.handle_cancellation)


def test_what_the_worker_overrides_exists_in_its_base() -> None:
    for name in ("setup", "get_and_submit_flow_runs", "run", "kill_infrastructure"):
        assert name in InProcessWorker.__dict__
        assert hasattr(BaseWorker, name)


def test_the_engine_leaves_signals_alone_outside_the_main_thread() -> None:
    assert "Signals only work in the main thread" in inspect.getsource(capture_sigterm)


async def test_clients_share_one_tls_context() -> None:
    names = vars(prefect.client.orchestration)
    genuine = names["ssl"]
    try:
        share_tls_context()
        assert names["ssl"].create_default_context() is names["ssl"].create_default_context()
        assert names["ssl"].SSLContext is ssl.SSLContext
        async with PrefectClient("http://127.0.0.1:1/api") as client:
            assert client is not None
    finally:
        names["ssl"] = genuine
