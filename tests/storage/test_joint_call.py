"""Calls that are made together."""

import asyncio

import pytest

from blocks.joint_call import JointCall


class Desk:
    """Answers with how often it was asked, when it may."""

    def __init__(self) -> None:
        self.calls = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def ask(self) -> int:
        self.calls += 1
        number = self.calls
        self.was_asked.set()
        await self.may_answer.wait()
        if number > 2:
            raise ValueError("closed")
        return number


async def test_who_asks_while_a_call_is_under_way_shares_the_next() -> None:
    desk = Desk()
    joint = JointCall(desk.ask)
    first = asyncio.create_task(joint.answer())
    await desk.was_asked.wait()
    later = [asyncio.create_task(joint.answer()) for _ in range(20)]
    await asyncio.sleep(0)
    desk.may_answer.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 20
    assert desk.calls == 2


async def test_a_question_that_is_withdrawn_leaves_the_others_their_answer() -> None:
    desk = Desk()
    joint = JointCall(desk.ask)
    asked = [asyncio.create_task(joint.answer()) for _ in range(2)]
    await asyncio.sleep(0)
    asked[0].cancel()
    desk.may_answer.set()
    assert await asked[1] == 1


async def test_an_error_reaches_all_who_asked_and_nobody_after_them() -> None:
    desk = Desk()
    desk.may_answer.set()
    joint = JointCall(desk.ask)
    assert [await joint.answer(), await joint.answer()] == [1, 2]
    failed = await asyncio.gather(joint.answer(), joint.answer(), return_exceptions=True)
    assert [str(error) for error in failed] == ["closed"] * 2
    assert desk.calls == 3


async def test_what_is_closed_answers_nobody() -> None:
    desk = Desk()
    joint = JointCall(desk.ask)
    asked = asyncio.create_task(joint.answer())
    await asyncio.sleep(0)
    await joint.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asked
