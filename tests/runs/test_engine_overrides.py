"""What flows/inprocess_engine.py takes from the inside of Prefect is still there; a new release is tried here first."""

import asyncio
import inspect
import re
import socket
import ssl
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, ClassVar
from uuid import UUID, uuid4

import anyio
import httpx
import prefect.client.orchestration
import pytest
from prefect import flow, flow_engine
from prefect.cli import worker as worker_command
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import AsyncClientContext
from prefect.events.clients import PrefectEventsClient, PrefectEventSubscriber
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort
from prefect.flow_engine import AsyncFlowRunEngine
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelling, Completed, Running
from prefect.task_engine import AsyncTaskRunEngine
from prefect.utilities.dispatch import get_registry_for_type
from prefect.utilities.engine import capture_sigterm
from prefect.workers.base import BaseJobConfiguration, BaseWorker

from flows import inprocess_worker, patient_clients
from flows.inprocess_engine import (
    PREFECT_VERSION,
    ChoosyWorker,
    Ending,
    InProcessEngine,
    InProcessResult,
    NothingToConfigure,
)
from flows.inprocess_worker import InProcessWorker
from flows.patient_clients import confirm_events_often, share_tls_context, wait_for_server


def test_prefect_is_the_release_whose_internals_were_read() -> None:
    assert version("prefect") == PREFECT_VERSION


def test_what_the_engine_overrides_exists_in_its_base() -> None:
    for name in ("heartbeat_seconds", "setup_flow_run_suspension_request", "handle_crash", "set_state"):
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


@pytest.mark.parametrize(
    "name",
    [
        "_get_scheduled_flow_runs",
        "_submit_run",
        "_give_worker_labels_to_flow_run",
        "_emit_flow_run_submitted_event",
    ],
)
def test_what_is_private_to_prefects_worker_is_overridden_in_one_place_as_it_is_called(name: str) -> None:
    assert name in ChoosyWorker.__dict__
    assert name not in InProcessWorker.__dict__
    theirs, ours = (inspect.signature(getattr(kind, name)).parameters for kind in (BaseWorker, ChoosyWorker))
    assert list(theirs) == list(ours)
    is_awaited = [inspect.iscoroutinefunction(getattr(kind, name)) for kind in (BaseWorker, ChoosyWorker)]
    assert len(set(is_awaited)) == 1


def test_prefects_worker_tells_of_a_runs_end_only_if_it_told_of_its_beginning() -> None:
    assert "if submitted_event:" in inspect.getsource(BaseWorker)


@pytest.mark.parametrize(
    "name", ["__init__", "setup", "teardown", "start", "get_and_submit_flow_runs", "run", "kill_infrastructure"]
)
def test_what_our_worker_overrides_is_public_and_is_called_as_prefect_calls_it(name: str) -> None:
    theirs, ours = (inspect.signature(getattr(kind, name)).parameters for kind in (BaseWorker, InProcessWorker))
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in ours.values())
    assert takes_all or set(theirs) <= set(ours)


def test_nothing_else_of_ours_uses_what_prefect_keeps_to_itself() -> None:
    private = {name for kind in BaseWorker.__mro__ for name in vars(kind) if name.startswith("_") and name[1] != "_"}
    private |= set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(BaseWorker)))
    used = set(re.findall(r"\.(_[a-z]\w*)", inspect.getsource(inprocess_worker)))
    # What it names in Prefect's page is asked for by these names.
    assert not used & (private - {"_description", "_display_name", "_documentation_url", "_logo_url"})


async def test_the_configuration_of_a_run_asks_the_server_for_nothing() -> None:
    theirs = inspect.signature(BaseJobConfiguration.resolve_for_flow_run).parameters
    assert set(theirs) == set(inspect.signature(NothingToConfigure.resolve_for_flow_run).parameters)
    assert "await self.job_configuration.resolve_for_flow_run(" in inspect.getsource(BaseWorker)


async def test_a_run_that_is_left_is_forgotten_by_prefects_worker() -> None:
    worker = Leaving("a-pool", name="a-worker", limit=1)
    worker._limiter = anyio.CapacityLimiter(1)
    run_id = uuid4()
    assert not worker.leave(run_id)
    worker._limiter.acquire_on_behalf_of_nowait(run_id)
    worker._submitting_flow_run_ids.add(run_id)
    assert worker.leave(run_id)
    assert worker._limiter.borrowed_tokens == 0
    assert not worker._submitting_flow_run_ids
    with pytest.raises(RuntimeError):
        worker.work_beside(worker.sync_with_backend)
    assert worker.log is worker._logger


class Leaving(ChoosyWorker):
    """Takes nothing."""

    type = "leaving"
    at_work: ClassVar[set[UUID]] = set()

    def chosen(self, due: list[WorkerFlowRunResponse]) -> list[WorkerFlowRunResponse]:
        return due[:0]

    async def take_up(self, flow_run: FlowRun) -> None:
        self.leave(flow_run.id)

    def is_at_work(self, run_id: UUID) -> bool:
        return run_id in self.at_work

    async def nothing(self) -> None:
        """No server is asked."""

    async def run(self, *_args: Any, **_named: Any) -> InProcessResult:  # noqa: ANN401  # never called
        raise NotImplementedError


def test_prefects_command_line_makes_workers_with_arguments_that_ours_takes() -> None:
    made = inspect.getsource(worker_command.start)
    call = made[made.index("worker_cls(") :]
    given = re.findall(r"^ +(\w+)=", call[: call.index(")\n")], flags=re.MULTILINE)
    assert "work_pool_name" in given
    assert set(given) <= set(inspect.signature(BaseWorker.__init__).parameters)
    assert "worker.start(\n                run_once=run_once," in made


def test_the_shims_subscriber_has_the_websocket_that_is_hung_up() -> None:
    assert "self._websocket = " in inspect.getsource(PrefectEventSubscriber)


def test_our_worker_is_found_by_its_type() -> None:
    assert BaseWorker.get_worker_class_from_type(InProcessWorker.type) is InProcessWorker
    # What only carries the overrides is none that anybody could start.
    assert ChoosyWorker not in (get_registry_for_type(BaseWorker) or {}).values()


def test_prefects_worker_submits_and_forgets_a_run_by_the_names_that_ours_uses() -> None:
    submit = inspect.getsource(BaseWorker._submit_run)
    assert "ready_to_submit = await self._propose_pending_state(flow_run)" in submit
    assert "self._submitting_flow_run_ids.remove(flow_run.id)" in submit
    assert "self._release_limit_slot(flow_run.id)" in submit
    take = inspect.getsource(BaseWorker._submit_scheduled_flow_runs)
    assert "acquire_on_behalf_of_nowait(flow_run.id)" in take
    assert "self._cancelling_observer.add_in_flight_flow_run_id(flow_run.id)" in take
    assert "self._runs_task_group.start_soon(" in take
    assert "await self._get_scheduled_flow_runs()" in inspect.getsource(BaseWorker.get_and_submit_flow_runs)


def test_every_state_of_a_run_is_written_by_the_method_that_asks_for_the_lease() -> None:
    engine = inspect.getsource(AsyncFlowRunEngine)
    assert engine.count("propose_state(") == 1
    theirs, ours = (inspect.signature(kind.set_state).parameters for kind in (AsyncFlowRunEngine, InProcessEngine))
    assert list(theirs) == list(ours)


async def test_clients_wait_for_a_server_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = PrefectHttpxAsyncClient._send_with_retry
    # Put back at the end.
    monkeypatch.setattr(PrefectHttpxAsyncClient, "_send_with_retry", genuine)
    wait_for_server()
    ours = PrefectHttpxAsyncClient._send_with_retry
    assert inspect.signature(ours).parameters.keys() == inspect.signature(genuine).parameters.keys()
    # It has a port, which nobody else gets, and does not listen yet: whoever comes is refused.
    later = socket.socket()
    later.bind(("127.0.0.1", 0))
    async with PrefectHttpxAsyncClient(base_url=f"http://127.0.0.1:{later.getsockname()[1]}") as client:
        asking = asyncio.create_task(client.get("/health"))
        await asyncio.sleep(0)
        server = await asyncio.start_server(_answer, sock=later)
        async with server, asyncio.timeout(60):
            assert (await asking).status_code == HTTPStatus.OK


async def test_clients_give_a_server_up_once_that_was_there_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PrefectHttpxAsyncClient, "_send_with_retry", PrefectHttpxAsyncClient._send_with_retry)
    monkeypatch.setattr(patient_clients, "_OUTAGE_SECONDS", 0.0)
    wait_for_server()
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with PrefectHttpxAsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        async with server:
            assert (await client.get("/health")).status_code == HTTPStatus.OK
        # Prefect's own five retries would take a minute.
        async with asyncio.timeout(20):
            with pytest.raises(httpx.ConnectError):
                await client.get("/health")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    await writer.drain()
    writer.close()


def test_the_engine_leaves_signals_alone_outside_the_main_thread() -> None:
    assert "Signals only work in the main thread" in inspect.getsource(capture_sigterm)


async def test_a_worker_and_its_runs_have_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        worker = Leaving("a-pool", name="a-worker")
        monkeypatch.setattr(worker, "_sync_and_initialize", worker.nothing)
        await worker.setup()
        try:
            assert await asyncio.create_task(_client_of_a_run()) is worker.client
            # Prefect's sixteen would be for hundreds of runs.
            pool = worker.client._client._transport._pool  # type: ignore[attr-defined]  # httpx names no kind
            assert pool._max_connections == 64
        finally:
            await worker.teardown(None, None, None)
        assert AsyncClientContext.get() is None
    for kind in (AsyncFlowRunEngine, AsyncTaskRunEngine):
        assert "async with AsyncClientContext.get_or_create()" in inspect.getsource(kind)


async def _client_of_a_run() -> PrefectClient:
    async with AsyncClientContext.get_or_create() as context, get_client() as client:
        assert context.client is client
        return client


@pytest.mark.parametrize(
    ("ending", "error", "told", "wanted"),
    [
        (None, RuntimeError("the server is away"), None, "Crashed"),
        (None, Abort("it is tried again later"), None, None),
        (None, asyncio.CancelledError(), None, None),
        # Ended, with its GPU jobs, by whoever looks for runs without a worker.
        (Ending.CANCELLED, asyncio.CancelledError(), None, None),
        (Ending.HANDED_BACK, asyncio.CancelledError(), Cancelling(), None),
        (Ending.HANDED_BACK, asyncio.CancelledError(), None, "AwaitingRetry"),
        (Ending.HANDED_BACK, asyncio.CancelledError(), Running(), "AwaitingRetry"),
        (Ending.HANDED_BACK, asyncio.CancelledError(), AwaitingRetry(), None),
        (Ending.HANDED_BACK, asyncio.CancelledError(), Completed(), None),
        (Ending.FENCED, asyncio.CancelledError(), Running(), None),
    ],
)
def test_what_the_server_does_not_know_of_a_runs_end_is_told(
    ending: Ending | None, error: BaseException, told: State[None] | None, wanted: str | None
) -> None:
    engine = InProcessEngine(flow=_nothing)
    engine.ending, engine.told = ending, told
    state = engine.untold(error)
    assert (state and state.name) == wanted


@flow
async def _nothing() -> None:
    pass


async def test_a_place_is_taken_as_long_as_a_run_works_although_prefects_worker_counts_it_as_over() -> None:
    worker = Leaving("a-pool", name="a-worker", limit=1)
    worker._limiter = anyio.CapacityLimiter(1)
    run_id = uuid4()
    worker._limiter.acquire_on_behalf_of_nowait(run_id)
    worker.at_work.add(run_id)
    worker._release_limit_slot(run_id)
    assert worker._limiter.borrowed_tokens == 1
    worker.free_place(run_id)
    assert worker._limiter.borrowed_tokens == 0
    assert "self._release_limit_slot(flow_run.id)" in inspect.getsource(BaseWorker._submit_run_and_capture_errors)


async def test_events_that_the_server_has_not_confirmed_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    # Put back at the end.
    monkeypatch.setattr(EventsWorker, "_client_override", None)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        confirm_events_often()
        assert EventsWorker._client_override is not None
        kind, options = EventsWorker._client_override
        client = kind(**dict(options))
    assert isinstance(client, PrefectEventsClient)
    assert client._checkpoint_every == 50
    assert "client_type is None and cls._client_override is not None" in inspect.getsource(EventsWorker.instance)
    assert "if unconfirmed_count < self._checkpoint_every:" in inspect.getsource(PrefectEventsClient._checkpoint)


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
