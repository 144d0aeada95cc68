"""The tasks of the runs at work: each comes to an end that is told, whatever happens to it in which moment."""

import asyncio
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import Abort

from flows import handover
from flows.inprocess_engine import Ending, InProcessEngine
from flows.running import Runs


@flow
async def _nothing() -> None:
    pass


class Scripted(InProcessEngine):
    """Works until it is told how to end."""

    def __init__(self) -> None:
        super().__init__(flow=_nothing, flow_run=FlowRun(flow_id=uuid4()))
        self.end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.was_cancelled = False

    async def work(self) -> None:
        try:
            await self.end
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


class Desk:
    """Whom runs tell, and who hears of their ends."""

    def __init__(self, *, can_be_told: bool = True) -> None:
        self.runs = Runs(tell=self._tell, ended=self._ended)
        self.told: list[State[None]] = []
        self.ended: dict[UUID, bool] = {}
        self._can_be_told = can_be_told
        self._is_over = asyncio.Event()

    async def _tell(self, _engine: InProcessEngine, state: State[None]) -> bool:
        self.told.append(state)
        return self._can_be_told

    async def _ended(self, run_id: UUID, is_told: bool) -> None:  # noqa: FBT001  # as it is called
        # As giving back a lease does.
        await asyncio.sleep(0)
        self.ended[run_id] = is_told
        self._is_over.set()

    def begin(self) -> tuple[UUID, Scripted]:
        run_id, engine = uuid4(), Scripted()
        self.runs.begin(run_id, engine, name=str(run_id))
        return run_id, engine

    async def until_ended(self, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while len(self.ended) < count:
                await self._is_over.wait()
                self._is_over.clear()


@pytest.mark.parametrize("error", [Abort("it is tried again later"), RuntimeError("the server is away")])
async def test_a_run_is_gone_however_its_engine_ends(error: BaseException) -> None:
    desk = Desk()
    run_id, engine = desk.begin()
    await asyncio.sleep(0)
    engine.end.set_exception(error)
    await desk.until_ended()
    assert run_id not in desk.runs
    assert desk.ended == {run_id: True}
    assert [state.is_crashed() for state in desk.told] == ([True] if isinstance(error, RuntimeError) else [])


async def test_who_is_interrupted_in_the_moment_of_its_end_is_let_go_all_the_same() -> None:
    desk = Desk()
    run_id, engine = desk.begin()
    await asyncio.sleep(0)
    # Its last answer is there, and before the run goes on with it somebody wants it to end.
    engine.end.set_result(None)
    assert desk.runs.interrupt(run_id, Ending.CANCELLED)
    await desk.until_ended()
    assert not engine.was_cancelled
    assert desk.ended == {run_id: True}


async def test_who_is_interrupted_before_its_first_step_makes_it() -> None:
    desk = Desk()
    run_id, engine = desk.begin()
    assert desk.runs.interrupt(run_id, Ending.HANDED_BACK)
    await desk.until_ended()
    assert engine.was_cancelled
    assert [state.name for state in desk.told] == ["AwaitingRetry"]


async def test_all_are_handed_back_and_so_is_who_begins_afterwards() -> None:
    desk = Desk(can_be_told=False)
    run_id, engine = desk.begin()
    desk.runs.hand_back()
    late_id, late = desk.begin()
    await desk.until_ended(2)
    assert engine.was_cancelled
    assert late.was_cancelled
    # Nobody could be told: their leases must end by themselves.
    assert desk.ended == {run_id: False, late_id: False}
    for scripted in (engine, late):
        assert scripted.flow_run is not None
        assert handover.is_handed_back(str(scripted.flow_run.id))
        handover.let_go(str(scripted.flow_run.id))
    assert not desk.runs.interrupt(run_id, Ending.CANCELLED)
